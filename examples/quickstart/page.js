"use strict";
// Counts down to what comes, and shows a renewed certificate without a reload.
const until = time => {
  const s = Math.round((Date.parse(time) - Date.now()) / 1000), m = Math.floor(s / 60), h = Math.floor(m / 60);
  if (s <= 0) return "now";
  if (h >= 48) return `in ${Math.floor(h / 24)} days`;
  return "in " + (h ? `${h}h` : "") + (m ? `${m % 60}m` : "") + `${s % 60}s`;
};
const serial = page => page.querySelector("code").textContent;
setInterval(() => {
  for (const time of document.querySelectorAll("time")) time.textContent = until(time.dateTime);
}, 1000);
setInterval(async () => {
  const answer = await fetch(location.href).catch(() => ({ ok: false })); // it may be stopped, and started again
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html"), renewed = serial(page) !== serial(document);
  document.querySelector("dl").replaceWith(page.querySelector("dl"));
  if (renewed) document.getElementById("renewed").textContent = `It was renewed at ${new Date().toLocaleTimeString()}, while you watched.`;
}, 2000);
