package acmetest_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/everseal/everseal/acme/acmetest"
)

// orderList returns the orders on a page of the list, and the URL of the next page, if any.
func (c *client) orderList(page string) (orders []string, next string) {
	c.t.Helper()
	answer := c.post(page, nil).want(http.StatusOK, "")
	var list struct{ Orders []string }
	if answer.decode(&list); list.Orders == nil {
		c.t.Errorf("the list has no orders, not even none: %s", answer.body)
	}
	for _, link := range answer.header.Values("Link") {
		if target, ok := strings.CutSuffix(link, `>;rel="next"`); ok {
			next = strings.TrimPrefix(target, "<")
		}
	}
	return list.Orders, next
}

func TestOrderList(t *testing.T) {
	for _, test := range []struct {
		perPage int
		want    []int // orders on each page
	}{{0, []int{5}}, {-1, []int{5}}, {1, []int{1, 1, 1, 1, 1}}, {2, []int{2, 2, 1}}, {5, []int{5}}, {6, []int{5}}} {
		t.Run(fmt.Sprintf("%d per page", test.perPage), func(t *testing.T) {
			ca := acmetest.NewUnstartedServer()
			ca.OrdersPerPage = test.perPage
			ca.StartInMemory()
			defer ca.Close()
			c, other := newAccount(t, ca), newAccount(t, ca)
			var a struct{ Orders string }
			c.post(c.kid, nil).want(http.StatusOK, "").decode(&a)
			if urls, next := c.orderList(a.Orders); len(urls) > 0 || next != "" {
				t.Errorf("orders %v and next %q before the first order", urls, next)
			}
			var want []string
			for i := range 5 {
				o := c.newOrder(fmt.Sprintf("host-%d.example.com", i))
				want = append(want, o.URL)
				other.newOrder("example.com")
				invalid := c.newOrder("invalid.example.com")
				c.post(invalid.Authorizations[0], map[string]any{"status": "deactivated"}).want(http.StatusOK, "")
			}
			var got []string
			var sizes []int
			for page := a.Orders; page != "" && len(sizes) < 10; {
				var urls []string
				urls, page = c.orderList(page)
				got, sizes = append(got, urls...), append(sizes, len(urls))
			}
			if !slices.Equal(got, want) || !slices.Equal(sizes, test.want) {
				t.Errorf("orders %v on pages of %v\nwant   %v on pages of %v", got, sizes, want, test.want)
			}
			other.post(a.Orders, nil).want(http.StatusForbidden, "unauthorized")
			c.post(a.Orders, map[string]any{}).want(http.StatusBadRequest, "malformed")
			for _, from := range []string{"", "-1", "x"} {
				c.post(a.Orders+"?from="+from, nil).want(http.StatusBadRequest, "malformed")
			}
			if urls, next := c.orderList(a.Orders + "?from=1000000"); len(urls) > 0 || next != "" {
				t.Errorf("orders %v and next %q after the last", urls, next)
			}
		})
	}
}
