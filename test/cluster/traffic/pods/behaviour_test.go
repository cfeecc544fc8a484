package pods

import (
	"testing"
	"time"
)

func TestParseImage(t *testing.T) {
	for name, tc := range map[string]struct {
		image string
		want  Behaviour
	}{
		"a plain tag is a version that does well": {"shop/cart:1.0.0", Behaviour{Version: "1.0.0"}},
		"an error percentage is no part of the version": {
			"shop/cart:1.1.0-errors5", Behaviour{Version: "1.1.0", Errors: Rate{5, 100}},
		},
		"a percentage may be a fraction": {
			"shop/cart:1.1.0-errors0.5", Behaviour{Version: "1.1.0", Errors: Rate{5, 1000}},
		},
		"all requests may fail": {"shop/cart:2-errors100", Behaviour{Version: "2", Errors: Rate{100, 100}}},
		"modifiers combine in any order around the version": {
			"shop/cart:latency200ms-1.2.0-slowstart3s-crash1m30s",
			Behaviour{Version: "1.2.0", Latency: 200 * time.Millisecond, SlowStart: 3 * time.Second, Crash: 90 * time.Second},
		},
		"dashes in a version stay": {
			"shop/cart:1.2.0-rc1-neverready", Behaviour{Version: "1.2.0-rc1", NeverReady: true},
		},
		"unknown text is version":                 {"shop/cart:1.0.0-debug", Behaviour{Version: "1.0.0-debug"}},
		"more than all is version":                {"shop/cart:1-errors101", Behaviour{Version: "1-errors101"}},
		"an error modifier needs a number":        {"shop/cart:1-errors", Behaviour{Version: "1-errors"}},
		"a point needs digits":                    {"shop/cart:1-errors5.", Behaviour{Version: "1-errors5."}},
		"a duration needs a unit":                 {"shop/cart:1-latency200", Behaviour{Version: "1-latency200"}},
		"no duration is version":                  {"shop/cart:1-crash0s", Behaviour{Version: "1-crash0s"}},
		"the last of two equal modifiers holds":   {"c:1-errors5-errors7", Behaviour{Version: "1", Errors: Rate{7, 100}}},
		"a port of a registry is not a tag":       {"localhost:5000/shop/cart", Behaviour{}},
		"a tag after a registry with port counts": {"localhost:5000/shop/cart:1-errors5", Behaviour{Version: "1", Errors: Rate{5, 100}}},
		"a digest alone is no tag":                {"shop/cart@sha256:0123abcd", Behaviour{}},
		"a tag before a digest counts":            {"shop/cart:1-errors5@sha256:0123abcd", Behaviour{Version: "1", Errors: Rate{5, 100}}},
		"no tag is no version":                    {"shop/cart", Behaviour{}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ParseImage(tc.image); got != tc.want {
				t.Errorf("ParseImage(%q) = %+v, want %+v", tc.image, got, tc.want)
			}
		})
	}
}

// Of any first n requests exactly the whole part of n times the rate fails, and the failures
// keep their distance.
func TestRateIsExactAndEven(t *testing.T) {
	for percent, perMyriad := range map[string]uint64{
		"0": 0, "0.5": 50, "1": 100, "3": 300, "5": 500, "5.00": 500, "33.33": 3333, "50": 5000, "97.5": 9750, "100": 10000,
	} {
		t.Run(percent, func(t *testing.T) {
			rate, ok := parsePercent(percent)
			if !ok {
				t.Fatalf("parsePercent(%q) refused", percent)
			}
			var hits, last uint64
			for n := uint64(1); n <= 20_000; n++ {
				if !rate.Hits(n) {
					continue
				}
				hits++
				if gap := n - last; last > 0 && perMyriad > 0 && (gap < 10000/perMyriad || gap > 10000/perMyriad+1) {
					t.Fatalf("hits at %d and %d: gap %d, want %d or one more", last, n, gap, 10000/perMyriad)
				}
				last = n
				if want := n * perMyriad / 10000; hits != want {
					t.Fatalf("%d hits in the first %d, want %d", hits, n, want)
				}
			}
			if want := 2 * perMyriad; hits != want {
				t.Errorf("%d hits in 20000, want %d", hits, want)
			}
			if got, want := rate.Percent(), float64(perMyriad)/100; got != want {
				t.Errorf("Percent() = %v, want %v", got, want)
			}
		})
	}
}

func TestFivePercentIsEveryTwentieth(t *testing.T) {
	rate := ParseImage("shop/cart:1-errors5").Errors
	for n := uint64(1); n <= 1000; n++ {
		if got, want := rate.Hits(n), n%20 == 0; got != want {
			t.Fatalf("Hits(%d) = %v, want %v", n, got, want)
		}
	}
}

func TestLoopback(t *testing.T) {
	for name, tc := range map[string]struct{ ip, want string }{
		"a pod address keeps its last three numbers": {"10.64.1.7", "127.64.1.7"},
		"another private network is refused":         {"192.168.1.7", ""},
		"an IPv6 address is refused":                 {"fd00::1", ""},
		"text is refused":                            {"pod", ""},
		"nothing is refused":                         {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Loopback(tc.ip)
			if (err != nil) != (tc.want == "") {
				t.Fatalf("Loopback(%q) error = %v", tc.ip, err)
			}
			if err == nil && got.String() != tc.want {
				t.Errorf("Loopback(%q) = %s, want %s", tc.ip, got, tc.want)
			}
		})
	}
}
