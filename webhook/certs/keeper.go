package certs

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// keepEvery is how long after a failure a Secret that was deleted is made again.
const keepEvery = 2 * time.Second

// keeper makes the Secret anew when somebody deleted it: the rotation fills a Secret and
// makes none, so that one deletion would keep every later start of the manager from getting
// a certificate.
type keeper struct {
	reader client.Reader
	writer client.Writer
	secret types.NamespacedName
	// chart is a ConfigMap of the chart, which goes before the Secret when the chart is
	// uninstalled: then nothing may come back. Empty: nobody looks.
	chart types.NamespacedName
	log   logr.Logger
	// lost has room for one: that it is gone does not have to be told twice.
	lost chan struct{}
}

func newKeeper(reader client.Reader, writer client.Writer, secret, chart types.NamespacedName, log logr.Logger) *keeper {
	return &keeper{reader: reader, writer: writer, secret: secret, chart: chart, log: log, lost: make(chan struct{}, 1)}
}

// NeedLeaderElection says that every replica does this; the first one wins.
func (*keeper) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (k *keeper) Start(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-k.lost:
		}
		err := wait.PollUntilContextCancel(ctx, keepEvery, true, func(ctx context.Context) (bool, error) {
			err := k.ensure(ctx)
			if err != nil {
				k.log.Error(err, "Cannot make the Secret of the certificate anew", "secret", k.secret.String())
			}
			return err == nil, nil
		})
		if err != nil {
			return nil //nolint:nilerr // It was told to stop.
		}
	}
}

// observe is told of Secrets that are gone.
func (k *keeper) observe(obj any) {
	if gone, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
		obj = gone.Obj
	}
	secret, ok := obj.(*corev1.Secret)
	if !ok || secret.Namespace != k.secret.Namespace || secret.Name != k.secret.Name {
		return
	}
	select {
	case k.lost <- struct{}{}:
	default:
	}
}

// ensure makes the Secret, empty as the chart has it, where there is none. It asks the API
// server and no cache.
func (k *keeper) ensure(ctx context.Context) error {
	var secret corev1.Secret
	err := k.reader.Get(ctx, k.secret, &secret)
	if err == nil {
		return nil
	}
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("reading Secret %s: %w", k.secret, err)
	}
	var chart corev1.ConfigMap
	if k.chart.Name != "" {
		err := k.reader.Get(ctx, k.chart, &chart)
		if apierrors.IsNotFound(err) {
			k.log.Info("The Secret of the certificate is gone, and so is the chart", "secret", k.secret.String())
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading ConfigMap %s: %w", k.chart, err)
		}
	}
	err = k.writer.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: k.secret.Namespace, Name: k.secret.Name,
			// Helm takes away what it knows for its own, and nothing else.
			Labels: chart.Labels, Annotations: helms(chart.Annotations),
		},
		Type: corev1.SecretTypeOpaque,
	})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making Secret %s anew: %w", k.secret, err)
	}
	k.log.Info("The Secret of the certificate was gone and is made anew", "secret", k.secret.String())
	return nil
}

// helms are the annotations by which Helm knows its own objects.
func helms(annotations map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range annotations {
		if strings.HasPrefix(k, "meta.helm.sh/") {
			out[k] = v
		}
	}
	return out
}
