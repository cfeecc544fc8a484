package hook

import (
	"fmt"
	"net/netip"
	"slices"
)

// neverCalled are networks in which no hook is: what is in them answers whoever asks, on
// the grounds of where the request comes from.
var neverCalled = []struct {
	network netip.Prefix
	what    string
}{
	{netip.MustParsePrefix("169.254.0.0/16"), "a link-local address, where clouds keep the credentials of nodes"},
	{netip.MustParsePrefix("fe80::/10"), "a link-local address"},
	{netip.MustParsePrefix("127.0.0.0/8"), "the manager's own loopback address"},
	{netip.MustParsePrefix("::1/128"), "the manager's own loopback address"},
	{netip.MustParsePrefix("0.0.0.0/8"), "no address of a server"},
	{netip.MustParsePrefix("::/128"), "no address of a server"},
	{netip.MustParsePrefix("224.0.0.0/4"), "a multicast address"},
	{netip.MustParsePrefix("ff00::/8"), "a multicast address"},
	{netip.MustParsePrefix("255.255.255.255/32"), "a broadcast address"},
	// Metadata services that are elsewhere: those of EC2, Google, Oracle, Scaleway, Linode and
	// Alibaba by IPv6, of Azure, Alibaba and Oracle by IPv4.
	{netip.MustParsePrefix("fd00:ec2::/32"), "a metadata service of a cloud"},
	{netip.MustParsePrefix("fd20:ce::254/128"), "a metadata service of a cloud"},
	{netip.MustParsePrefix("fd00:c1::a9fe:a9fe/128"), "a metadata service of a cloud"},
	{netip.MustParsePrefix("fd00:42::42/128"), "a metadata service of a cloud"},
	{netip.MustParsePrefix("fd00:a9fe:a9fe::1/128"), "a metadata service of a cloud"},
	{netip.MustParsePrefix("fd00:100::100:200/128"), "a metadata service of a cloud"},
	{netip.MustParsePrefix("168.63.129.16/32"), "a metadata service of a cloud"},
	{netip.MustParsePrefix("100.100.100.200/32"), "a metadata service of a cloud"},
	{netip.MustParsePrefix("192.0.0.192/32"), "a metadata service of a cloud"},
}

// embedding are networks whose addresses carry an IPv4 address, and where in them.
var embedding = []struct {
	network netip.Prefix
	at      int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12},
	{netip.MustParsePrefix("64:ff9b:1::/48"), 12},
	{netip.MustParsePrefix("2002::/16"), 2},
	{netip.MustParsePrefix("::/96"), 12},
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12},
}

// Addresses says which addresses are called; see Refuses.
type Addresses struct {
	// Allowed are networks that are called though they would be refused.
	Allowed []netip.Prefix
	// Refused are the API server's.
	Refused []netip.AddrPort
}

// refusedError is an address that is not called.
type refusedError struct{ what string }

func (e *refusedError) Error() string { return e.what }

// Refuses says why an address is not called, nil where it is. It is asked about the very
// address that is about to be connected to, after every name was resolved.
func (a Addresses) Refuses(to netip.AddrPort) error {
	found := to.Addr().Unmap().WithZone("")
	allowed := slices.ContainsFunc(a.Allowed, func(p netip.Prefix) bool { return p.Contains(found) })
	if allowed {
		return nil
	}
	for _, api := range a.Refused {
		if to.Port() == api.Port() && (found == api.Addr().Unmap() || inside(found) == api.Addr().Unmap()) {
			return refused(found, "the API server")
		}
	}
	for _, never := range neverCalled {
		if never.network.Contains(found) || never.network.Contains(inside(found)) {
			return refused(found, never.what)
		}
	}
	return nil
}

// inside is the IPv4 address that an IPv6 address is translated to on its way; the zero Addr,
// which is in no network, where there is none.
func inside(found netip.Addr) netip.Addr {
	for _, e := range embedding {
		if e.network.Contains(found) {
			raw := found.As16()
			return netip.AddrFrom4([4]byte(raw[e.at : e.at+4]))
		}
	}
	return netip.Addr{}
}

func refused(found netip.Addr, what string) error {
	return &refusedError{fmt.Sprintf("its host is at %s, %s, which hooks do not call; correct the address, or, if it is meant, start the manager with --allow-hook-networks=%s", found, what, netip.PrefixFrom(found, found.BitLen()))}
}
