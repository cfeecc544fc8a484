package home

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"tidegate.io/tidegate/test/cluster/binaries"
	"tidegate.io/tidegate/test/cluster/flock"
)

// Slots number the clusters of one user that run side by side. The number is the second byte of all
// pod addresses, so that no two clusters share one, nor the loopback address that stands for it.
const (
	firstSlot, lastSlot = 64, 250
	// Ports lie below the range from which kernels take the ports of outgoing connections, and no
	// two slots share any, so that between clusters there is no race for a port.
	firstPort, portsPerSlot = 20000, 64
)

type slot struct {
	number int
	lock   *flock.Lock
	used   int // ports handed out
}

func claimSlot() (*slot, error) {
	cache, err := binaries.CacheDir()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cache, "slots")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("claiming addresses: %w", err)
	}
	for n := firstSlot; n <= lastSlot; n++ {
		lock, err := flock.Try(filepath.Join(dir, fmt.Sprintf("%d.lock", n)))
		if errors.Is(err, flock.ErrHeld) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("claiming addresses: %w", err)
		}
		return &slot{number: n, lock: lock}, nil
	}
	return nil, fmt.Errorf("claiming addresses: all of %d clusters run already: end some of them "+
		"(`go run ./test/cluster status --all` names them)", lastSlot-firstSlot+1)
}

// PodCIDR returns the range of the pods' addresses.
func (h *Home) PodCIDR() string { return h.slot.podCIDR() }

// NodeIP returns an address in that range that no pod gets: kwok gives it out from the other end.
func (h *Home) NodeIP() string { return fmt.Sprintf("10.%d.255.254", h.slot.number) }

// ServiceCIDR returns the range of the services' addresses.
func (h *Home) ServiceCIDR() string { return h.slot.serviceCIDR() }

// Port returns a port of 127.0.0.1 that is this cluster's alone and on which nobody listens. It must
// not be called concurrently.
func (h *Home) Port(ctx context.Context) (int, error) { return h.slot.port(ctx) }

func (s *slot) podCIDR() string { return fmt.Sprintf("10.%d.0.0/16", s.number) }

// serviceCIDR gives each slot 4096 addresses of 172.16.0.0/12.
func (s *slot) serviceCIDR() string {
	return fmt.Sprintf("172.%d.%d.0/20", 16+s.number/16, s.number%16*16)
}

// port returns a port of 127.0.0.1 that is this slot's alone and on which nobody listens.
func (s *slot) port(ctx context.Context) (int, error) {
	for s.used < portsPerSlot {
		p := firstPort + (s.number-firstSlot)*portsPerSlot + s.used
		s.used++
		if Free(ctx, p) {
			return p, nil
		}
	}
	return 0, fmt.Errorf("no free port in %d-%d of 127.0.0.1: other programs listen there",
		firstPort+(s.number-firstSlot)*portsPerSlot, firstPort+(s.number-firstSlot+1)*portsPerSlot-1)
}

// Free reports whether nobody listens on a port.
func Free(ctx context.Context, port int) bool {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", Address(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// Address returns a port's address on the loopback interface.
func Address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
