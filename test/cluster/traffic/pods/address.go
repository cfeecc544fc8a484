package pods

import (
	"fmt"
	"net/netip"
)

// Loopback returns the loopback address on which the server of a pod listens: 127.b.c.d for the
// pod address 10.b.c.d. Pods cannot have a loopback address themselves, since EndpointSlices
// refuse them.
func Loopback(podIP string) (netip.Addr, error) {
	ip, err := netip.ParseAddr(podIP)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("reading pod address: %w", err)
	}
	b := ip.As16()
	if !ip.Is4() || b[12] != 10 {
		return netip.Addr{}, fmt.Errorf("mapping pod address %s to loopback: wanted 10.b.c.d; give the cluster a pod CIDR inside 10.0.0.0/8", ip)
	}
	return netip.AddrFrom4([4]byte{127, b[13], b[14], b[15]}), nil
}
