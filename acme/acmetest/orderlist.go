package acmetest

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

// orderList answers with the orders of the account that asks, without those that are invalid (RFC 8555
// §7.1.2.1).
func (s *Server) orderList(w http.ResponseWriter, r *http.Request, signed *signedRequest) error {
	if err := signed.asGet(); err != nil {
		return err
	}
	if signed.account.ID != r.PathValue("id") {
		return problemf(unauthorized, "an account can fetch its own orders only")
	}
	from := 0
	if query := r.URL.Query(); query.Has("from") {
		var err error
		if from, err = strconv.Atoi(query.Get("from")); err != nil || from < 0 {
			return problemf(malformed, "there is no page of orders from %s", quote(query.Get("from")))
		}
	}
	urls, next := s.ordersFrom(from, signed.account)
	if next > 0 {
		w.Header().Add("Link", fmt.Sprintf(`<%s?from=%d>;rel="next"`, s.urlOf("orders", signed.account.ID), next))
	}
	writeJSON(w, http.StatusOK, struct {
		Orders []string `json:"orders"`
	}{urls})
	return nil
}

// ordersFrom returns a page of the account's orders, which begins in s.orderSequence at from, and where
// the next page begins; that is zero after the last.
func (s *Server) ordersFrom(from int, a *account) (urls []string, next int) {
	perPage := s.OrdersPerPage
	if perPage <= 0 {
		perPage = math.MaxInt
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	urls = []string{}
	now := time.Now()
	for i := from; i < len(s.orderSequence); i++ {
		o := s.orderSequence[i]
		if o.account != a || o.update(now) == statusInvalid {
			continue
		}
		if len(urls) == perPage {
			return urls, i
		}
		urls = append(urls, s.urlOf("order", o.id))
	}
	return urls, 0
}
