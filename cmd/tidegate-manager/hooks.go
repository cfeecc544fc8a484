package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"

	"github.com/spf13/pflag"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"tidegate.io/tidegate/rollout/controller"
	"tidegate.io/tidegate/rollout/hook"
)

// hookOptions are the flags of hooks.
type hookOptions struct {
	plain    bool
	networks []string
}

func (o *hookOptions) addTo(fs *pflag.FlagSet) {
	fs.BoolVar(&o.plain, "allow-plain-hooks", o.plain, "call hooks over http too, where anybody on the way may read and answer")
	fs.StringSliceVar(&o.networks, "allow-hook-networks", o.networks, "networks, such as 169.254.10.0/24, that hooks may be in though they are refused otherwise: loopback, link-local and metadata addresses, and the API server")
}

func (o *hookOptions) validate() error {
	_, err := o.allowed()
	return err
}

func (o *hookOptions) allowed() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range o.networks {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, wrong("allow-hook-networks", "wanted networks such as 169.254.10.0/24, found %q", text)
		}
		out = append(out, network.Masked())
	}
	return out, nil
}

// addHooks adds what calls hooks, on the leader. Its Secrets come from the manager's cache,
// which has those of the manager's namespace.
func addHooks(ctx context.Context, mgr manager.Manager, o *options) (controller.Hooks, error) {
	allowed, err := o.hooks.allowed()
	if err != nil {
		return nil, err
	}
	numbers := hook.NewMetrics()
	if err := numbers.Register(ctrlmetrics.Registry); err != nil {
		return nil, err
	}
	caller, err := hook.New(hook.Options{
		Secrets:    mgr.GetClient(),
		Namespace:  o.namespace,
		Clock:      clock.RealClock{},
		Metrics:    numbers,
		AllowPlain: o.hooks.plain,
		Addresses:  hook.Addresses{Allowed: allowed, Refused: addressesOf(ctx, mgr.GetConfig().Host)},
		Log:        mgr.GetLogger().WithName("hooks"),
	})
	if err != nil {
		return nil, err
	}
	if err := mgr.Add(caller); err != nil {
		return nil, fmt.Errorf("adding the hooks: %w", err)
	}
	return caller, nil
}

// addressesOf are the addresses of a server by its URL, or by its host and port; none where
// its name cannot be resolved.
func addressesOf(ctx context.Context, server string) []netip.AddrPort {
	host, port := server, "443"
	if u, err := url.Parse(server); err == nil && u.Host != "" {
		host = u.Hostname()
		switch {
		case u.Port() != "":
			port = u.Port()
		case u.Scheme == "http":
			port = "80"
		}
	} else if h, p, err := net.SplitHostPort(server); err == nil {
		host, port = h, p
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil
	}
	var out []netip.AddrPort
	for _, ip := range found {
		if at, err := netip.ParseAddrPort(net.JoinHostPort(ip.Unmap().String(), port)); err == nil {
			out = append(out, at)
		}
	}
	return out
}
