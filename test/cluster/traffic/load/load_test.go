package load

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// answers is a transport that answers the n-th request, counted from 1, as it is told.
type answers struct {
	n      atomic.Int64
	answer func(n int64, r *http.Request) (*http.Response, error)
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	return a.answer(a.n.Add(1), r)
}

func response(code int, headers ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	return &http.Response{StatusCode: code, Header: h, Body: http.NoBody}
}

// run loads a transport to the end inside a bubble of fake time.
func run(t *testing.T, o Options, answer func(int64, *http.Request) (*http.Response, error)) *Recorder {
	t.Helper()
	o.URL, o.Transport = "http://gateway.test/", &answers{answer: answer}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOutcomes(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	for name, tc := range map[string]struct {
		code    int
		headers []string
		err     error
		want    Outcome
		reason  string
	}{
		"an answer is an answer":                    {200, []string{RevisionHeader, "r1"}, nil, Answered, ""},
		"a client error is an answer":               {404, []string{RevisionHeader, "r1"}, nil, Answered, ""},
		"a redirect is not followed":                {302, []string{"Location", "http://elsewhere.test/"}, nil, Answered, ""},
		"a version's 500 is its own":                {500, []string{RevisionHeader, "r1"}, nil, AppError, ""},
		"a version's 503 is its own":                {503, []string{RevisionHeader, "r1"}, nil, AppError, ""},
		"the gateway's 503 is a loss":               {503, []string{GatewayErrorHeader, "no endpoint"}, nil, Lost, "gateway 503: no endpoint"},
		"the gateway's 404 is a loss":               {404, []string{GatewayErrorHeader, "no route"}, nil, Lost, "gateway 404: no route"},
		"an empty gateway reason is a loss":         {500, []string{GatewayErrorHeader, "", RevisionHeader, "r1"}, nil, Lost, "gateway 500: "},
		"an error of nobody is a loss":              {502, nil, nil, Lost, "status 502 from no known revision"},
		"a connection that fails is a loss":         {0, nil, refused, Lost, "transport: dial: connection refused"},
		"an answer that breaks off is a loss":       {0, nil, errors.New("unexpected EOF"), Lost, "transport: unexpected EOF"},
		"a request over its deadline is a loss too": {0, nil, context.DeadlineExceeded, Lost, "transport: timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t, Options{RPS: 10, MaxRequests: 1}, func(int64, *http.Request) (*http.Response, error) {
					if tc.err != nil {
						return nil, tc.err
					}
					return response(tc.code, tc.headers...), nil
				})
				rec := r.Records()[0]
				if rec.Outcome != tc.want || rec.Lost != tc.reason {
					t.Errorf("got %s (%q), want %s (%q)", rec.Outcome, rec.Lost, tc.want, tc.reason)
				}
			})
		})
	}
}

func TestSummaryAddsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Every 20th request goes to the canary, which fails each 4th of its; every 100th is lost before.
		r := run(t, Options{RPS: 100, MaxRequests: 1000, Host: "cart.test"}, func(n int64, req *http.Request) (*http.Response, error) {
			switch {
			case req.Host != "cart.test":
				return nil, errors.New("wrong host")
			case n%100 == 0:
				return response(502, GatewayErrorHeader, "gone"), nil
			case n%80 == 20:
				return response(500, RevisionHeader, "canary"), nil
			case n%20 == 0:
				return response(200, RevisionHeader, "canary"), nil
			default:
				return response(200, RevisionHeader, "stable"), nil
			}
		})
		s := r.Snapshot()
		// 50 multiples of 20 without 10 lost are 40 for the canary; of 20, 100, 180 ... 980 (13) 3 are lost.
		if s.Sent != 1000 || s.Lost != 10 || s.AppErrors != 10 || s.Answered != 980 || s.InFlight != 0 || s.Skipped != 0 {
			t.Errorf("summary is %+v", s)
		}
		if got, want := s.Revisions["canary"], (Count{Requests: 40, Errors: 10}); got != want {
			t.Errorf("canary has %+v, want %+v", got, want)
		}
		if got, want := s.Revisions["stable"], (Count{Requests: 950}); got != want {
			t.Errorf("stable has %+v, want %+v", got, want)
		}
		if got := s.Share("canary"); got != 100*40.0/990 {
			t.Errorf("canary's share is %v", got)
		}
		if s.Codes[200] != 980 || s.Codes[500] != 10 || s.Codes[502] != 10 || s.Reasons["gateway 502: gone"] != 10 {
			t.Errorf("codes %v, reasons %v", s.Codes, s.Reasons)
		}
		want := "1000 sent, 10 lost, 10 application errors; canary 40 (4.0 %); stable 950 (96.0 %); lost 10: gateway 502: gone"
		if s.String() != want {
			t.Errorf("String() = %q, want %q", s, want)
		}
	})
}

func TestWindowsHaveTheirBordersInTheFirstOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := run(t, Options{RPS: 100, MaxRequests: 300}, func(n int64, _ *http.Request) (*http.Response, error) {
			if n <= 100 {
				return response(200, RevisionHeader, "old"), nil
			}
			return response(200, RevisionHeader, "new"), nil
		})
		one, two := start.Add(time.Second), start.Add(2*time.Second)
		for name, tc := range map[string]struct {
			s        Summary
			old, new int
		}{
			"all":           {r.Snapshot(), 100, 200},
			"first second":  {r.Between(start, one), 100, 0},
			"second second": {r.Between(one, two), 0, 100},
			"from one on":   {r.Since(one), 0, 200},
			"from the end":  {r.Since(r.Now().Add(time.Hour)), 0, 0},
		} {
			if got := tc.s.Revisions["old"].Requests; got != tc.old {
				t.Errorf("%s: %d old, want %d", name, got, tc.old)
			}
			if got := tc.s.Revisions["new"].Requests; got != tc.new {
				t.Errorf("%s: %d new, want %d", name, got, tc.new)
			}
		}
	})
}

func TestLoadIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		// Every request takes a second; at 50 a second they overlap, and the rate holds.
		r := run(t, Options{RPS: 50, MaxRequests: 100}, func(int64, *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return response(200), nil
		})
		if took := time.Since(start); took != 99*20*time.Millisecond+time.Second {
			t.Errorf("100 requests at 50/s of 1 s each took %s, want 2.98 s", took)
		}
		s := r.Snapshot()
		if s.Sent != 100 || s.P50 != time.Second || s.Max != time.Second {
			t.Errorf("summary is %+v", s)
		}
	})
}

func TestRequestsThatFindNoWorkerAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, Options{RPS: 10, Workers: 2, MaxRequests: 10}, func(int64, *http.Request) (*http.Response, error) {
			time.Sleep(time.Minute)
			return response(200), nil
		})
		if s := r.Snapshot(); s.Skipped != 8 {
			t.Errorf("%d skipped, want 8 of 10 with two workers", s.Skipped)
		}
	})
}

func TestRequestsInFlightOutliveTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		r, err := Run(ctx, Options{URL: "http://gateway.test/", RPS: 10, Transport: &answers{answer: func(_ int64, req *http.Request) (*http.Response, error) {
			select {
			case <-req.Context().Done():
				return nil, req.Context().Err()
			case <-time.After(3 * time.Second):
				return response(200, RevisionHeader, "r1"), nil
			}
		}}})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second + time.Millisecond)
		stop()
		synctest.Wait()
		if s := r.Snapshot(); s.InFlight != 11 || s.Sent != 0 {
			t.Errorf("after the stop: %d in flight and %d ended, want 11 and 0", s.InFlight, s.Sent)
		}
		<-r.Done()
		if s := r.Snapshot(); s.InFlight != 0 || s.Answered != 11 || s.Lost != 0 {
			t.Errorf("at the end: %+v", s)
		}
	})
}

func TestRequestOverItsTimeIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, Options{RPS: 10, MaxRequests: 1, Timeout: time.Second}, func(_ int64, req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		s := r.Snapshot()
		if s.Lost != 1 || s.Reasons["transport: timeout"] != 1 || s.P50 != 0 {
			t.Errorf("summary is %+v", s)
		}
	})
}

func TestRunRefusesWrongOptions(t *testing.T) {
	for name, tc := range map[string]struct {
		options Options
		want    string
	}{
		"no URL":           {Options{RPS: 1}, "http://host:port/path"},
		"no rate":          {Options{URL: "http://a.test"}, "more than 0"},
		"a negative limit": {Options{URL: "http://a.test", RPS: 1, Workers: -1}, "0 or more"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Run(t.Context(), tc.options)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestQuantile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for name, tc := range map[string]struct {
		sorted  []time.Duration
		percent int
		want    time.Duration
	}{
		"none is zero":                 {nil, 99, 0},
		"one is every quantile":        {[]time.Duration{7}, 50, 7},
		"the 99th of a hundred":        {hundred, 99, 99},
		"the middle of a hundred":      {hundred, 50, 50},
		"the whole is the largest":     {hundred, 100, 100},
		"99 % of ten needs all of ten": {hundred[:10], 99, 10},
	} {
		t.Run(name, func(t *testing.T) {
			if got := quantile(tc.sorted, tc.percent); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}
