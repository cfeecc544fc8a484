package main

import (
	"io"
	"log/slog"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

// setLogger sends everything that logs, Kubernetes' own libraries among it, to one place.
func setLogger(o *options, to io.Writer) (logr.Logger, error) {
	level, err := o.level()
	if err != nil {
		return logr.Logger{}, err
	}
	settings := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewJSONHandler(to, settings)
	if o.logFormat == "text" {
		handler = slog.NewTextHandler(to, settings)
	}
	log := logr.FromSlogHandler(handler)
	ctrl.SetLogger(log)
	klog.SetSlogLogger(slog.New(handler))
	return log, nil
}
