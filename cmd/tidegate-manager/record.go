package main

import (
	"errors"
	"fmt"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"tidegate.io/tidegate/cmd/internal/version"
	"tidegate.io/tidegate/webhook"
	"tidegate.io/tidegate/webhook/record"
)

// recordOptions are the flags of recording.
type recordOptions struct {
	directory string
	maxFiles  int
	maxSize   string
	warned    bool
}

func (o *recordOptions) addTo(fs *pflag.FlagSet) {
	fs.StringVar(&o.directory, "record-dir", o.directory, "directory to record refused reviews in, without their secrets; empty is off")
	fs.IntVar(&o.maxFiles, "record-max-files", o.maxFiles, "records that it may hold; the oldest go first")
	fs.StringVar(&o.maxSize, "record-max-size", o.maxSize, "how large they may be together")
	fs.BoolVar(&o.warned, "record-warned", o.warned, "record reviews that were let in with a warning too")
}

// validate says what is wrong, each with the flag.
func (o *recordOptions) validate() error {
	if o.directory == "" {
		return nil
	}
	var errs []error
	if o.maxFiles < 1 {
		errs = append(errs, wrong("record-max-files", "wanted 1 or more, found %d", o.maxFiles))
	}
	if size, err := resource.ParseQuantity(o.maxSize); err != nil || size.Value() < 1<<20 {
		errs = append(errs, wrong("record-max-size", "wanted at least 1Mi, such as 64Mi, found %q", o.maxSize))
	}
	return errors.Join(errs...)
}

// addRecorder makes what records, nil where nothing is to be recorded.
func addRecorder(mgr manager.Manager, o recordOptions, handlers webhook.Config, log logr.Logger) (*record.Recorder, error) {
	if o.directory == "" {
		return nil, nil //nolint:nilnil // nil is a recorder that records nothing
	}
	size, err := resource.ParseQuantity(o.maxSize)
	if err != nil {
		return nil, fmt.Errorf("reading --record-max-size: %w", err)
	}
	numbers := record.NewMetrics()
	if err := numbers.Register(ctrlmetrics.Registry); err != nil {
		return nil, err
	}
	r, err := record.New(record.Config{
		Directory: record.Directory{Path: o.directory, MaxFiles: o.maxFiles, MaxBytes: size.Value()},
		Warned:    o.warned,
		Version:   version.Get().Version,
		Handlers:  handlers,
		Clock:     clock.RealClock{},
		Metrics:   numbers,
		Log:       log.WithName("record"),
	})
	if err != nil {
		return nil, err
	}
	if err := mgr.Add(r); err != nil {
		return nil, fmt.Errorf("adding the recorder: %w", err)
	}
	return r, nil
}
