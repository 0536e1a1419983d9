package chromium

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// TestPictures writes pictures of the page into the folder that EVERSEAL_SHOTS names, for people to look at.
func TestPictures(t *testing.T) {
	folder := os.Getenv("EVERSEAL_SHOTS")
	if folder == "" {
		t.Skip("EVERSEAL_SHOTS names no folder for pictures of the page")
	}
	p := open(t)
	names := append(customers(43), "a.refused.example", "b.refused.example")
	for n, refused := range map[int]int{3: 0, len(names): 2} {
		s := newSite(t, "held.example", names[:n]...)
		s.settle(refused)
		for _, scheme := range []string{"light", "dark"} {
			for name, width := range map[string]int64{"desk": 1280, "phone": 360} {
				p.prefer(scheme)
				p.resize(width, 900)
				p.visit(s.url + "/?limit=12")
				p.eval("document.querySelector('tbody details').open = true")
				p.picture(filepath.Join(folder, fmt.Sprintf("%d-%s-%s.png", n, scheme, name)))
			}
		}
	}
}

// picture writes a picture of the page to a PNG file: of all of it, but of no more than 3000 pixels.
func (p *tab) picture(file string) {
	p.t.Helper()
	clip := valueOf[*page.Viewport](p, "({x: 0, y: 0, scale: 1, width: innerWidth, height: Math.min(document.documentElement.scrollHeight, 3000)})")
	p.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		shot, err := cdp.Call(ctx, t, page.CaptureScreenshot, page.CaptureScreenshotParams{Clip: clip, CaptureBeyondViewport: new(true)})
		if err != nil {
			return err
		}
		return os.WriteFile(file, shot.Data, 0o600)
	}))
}
