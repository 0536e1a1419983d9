// Package chromium tests what a browser makes of the status page, and of the quickstart's page: in Chromium without a window,
// which chromedp drives, at servers of the test's own. It has no code for programs, and is a module of its own so that what it
// needs stays out of everseal's go.mod.
//
// What shows is a real certmanager.Manager, with a local CA that refuses some names and keeps others waiting; and the
// quickstart as a process. Chromium must be installed where the environment variable CI is set; elsewhere the tests are skipped
// without it. With EVERSEAL_SHOTS set, TestPictures writes pictures of the page into that folder, for people to look at.
package chromium
