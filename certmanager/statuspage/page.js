"use strict";
// Has the page show how things are, every ten seconds, without losing focus, scroll, selection or what is opened.
(() => {
  const interval = 10000, share = 50; // no more than a fiftieth of the time is spent by the server on this page
  const pause = document.getElementById("pause"), refreshed = document.getElementById("refreshed");
  let paused = false, timer, next = 0;

  // morph makes an element of the page like one of the new page, and keeps of it what is alike.
  const morph = (old, fresh) => {
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    let at = old.firstChild;
    for (const node of [...fresh.childNodes]) {
      const known = node.id && document.getElementById(node.id);
      if (known && known !== at && known.parentNode === old) old.insertBefore(known, at), at = known;
      const alike = at && at.nodeType === node.nodeType && at.nodeName === node.nodeName && (at.id || "") === (node.id || "");
      if (!alike) { old.insertBefore(document.importNode(node, true), at); continue; }
      const following = at.nextSibling;
      if (at === pause || at === refreshed) { /* the script's own */ }
      else if (node.nodeType === Node.ELEMENT_NODE) { if (!at.isEqualNode(node)) morph(at, node); }
      else if (at.data !== node.data) at.data = node.data;
      at = following;
    }
    while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
  };

  const refresh = async () => {
    const began = Date.now();
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store", redirect: "error" });
      if (!answer.ok) throw new Error(answer.status);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html"), focused = document.activeElement;
      const time = page.getElementById("refreshed").textContent;
      if (paused) return;
      for (const part of ["header", "main", "footer"]) morph(document.querySelector(part), page.querySelector(part));
      document.title = page.title;
      refreshed.textContent = time;
      if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
    } catch {
      if (!refreshed.textContent.endsWith(")")) refreshed.textContent += " (it can’t be refreshed)";
    }
    schedule(Math.max(interval, share * (Date.now() - began)));
  };

  const schedule = wait => {
    clearTimeout(timer);
    next = Date.now() + wait;
    if (!paused && !document.hidden) timer = setTimeout(refresh, wait);
  };

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Resume" : "Pause";
    schedule(paused ? interval : 0);
  });
  document.addEventListener("visibilitychange", () => schedule(Math.max(next - Date.now(), 0)));
  schedule(interval);
})();
