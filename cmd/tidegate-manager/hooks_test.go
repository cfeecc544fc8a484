package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestAddressesOfTheAPIServer(t *testing.T) {
	for server, want := range map[string]string{
		"https://10.96.0.1:443":      "10.96.0.1:443",
		"https://10.96.0.1":          "10.96.0.1:443",
		"http://127.0.0.1":           "127.0.0.1:80",
		"https://[fd00::1]:6443/api": "[fd00::1]:6443",
		"10.0.0.1:6443":              "10.0.0.1:6443",
		"10.0.0.1":                   "10.0.0.1:443",
		"https://127.0.0.1:6443/x":   "127.0.0.1:6443",
	} {
		if got := addressesOf(t.Context(), server); !slices.Equal(got, []netip.AddrPort{netip.MustParseAddrPort(want)}) {
			t.Errorf("%s: wanted %s, found %v", server, want, got)
		}
	}
	if got := addressesOf(t.Context(), "https://localhost:6443"); len(got) == 0 || got[0].Port() != 6443 || !got[0].Addr().IsLoopback() {
		t.Errorf("a name: found %v", got)
	}
}

func TestHookNetworks(t *testing.T) {
	o := hookOptions{networks: []string{"169.254.10.7/24", "fd00::/8"}}
	got, err := o.allowed()
	if err != nil || len(got) != 2 || got[0].String() != "169.254.10.0/24" {
		t.Errorf("found %v, %v", got, err)
	}
	o.networks = []string{"169.254.10.7"}
	if err := o.validate(); err == nil || !strings.Contains(err.Error(), `--allow-hook-networks: wanted networks such as 169.254.10.0/24, found "169.254.10.7"`) {
		t.Errorf("found %v", err)
	}
}
