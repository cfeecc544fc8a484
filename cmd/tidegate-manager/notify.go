package main

import (
	"fmt"

	"github.com/spf13/pflag"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"tidegate.io/tidegate/rollout/controller"
	"tidegate.io/tidegate/rollout/notify"
)

// notifyOptions are the flags of notifications.
type notifyOptions struct {
	file string
}

func (o *notifyOptions) addTo(fs *pflag.FlagSet) {
	fs.StringVar(&o.file, "notifications-file", o.file, "file that says who is told what of Rollouts, read again when it changes; empty is off")
}

// addNotifier adds what tells people of Rollouts, nil where nobody is to be told. Its Secrets
// come from the manager's cache, which has those of the manager's namespace.
func addNotifier(mgr manager.Manager, o *options) (controller.Notifier, error) {
	if o.notify.file == "" {
		return nil, nil //nolint:nilnil // nil tells nobody
	}
	numbers := notify.NewMetrics()
	if err := numbers.Register(ctrlmetrics.Registry); err != nil {
		return nil, err
	}
	n, err := notify.New(notify.Options{
		File:      o.notify.file,
		Secrets:   mgr.GetClient(),
		Namespace: o.namespace,
		Clock:     clock.RealClock{},
		Metrics:   numbers,
		Log:       mgr.GetLogger().WithName("notify"),
	})
	if err != nil {
		return nil, err
	}
	if err := mgr.Add(n); err != nil {
		return nil, fmt.Errorf("adding notifications: %w", err)
	}
	return n, nil
}
