package certs

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// chart is what goes first when everything is uninstalled.
var chart = types.NamespacedName{Namespace: where.Namespace, Name: "standing"}

func installed() client.Object {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Namespace: chart.Namespace, Name: chart.Name, Labels: map[string]string{"app.kubernetes.io/managed-by": "Helm"},
		Annotations: map[string]string{"meta.helm.sh/release-name": "tidegate", "other": "x"},
	}}
}

// patience is how long a test waits for what should be at once.
const patience = time.Minute

func TestASecretThatIsGoneIsMadeAnew(t *testing.T) {
	t.Parallel()
	gone := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: where.Namespace, Name: where.Name}}
	for name, told := range map[string]any{
		"by the watch": gone,
		"by a list, which does not know what went": toolscache.DeletedFinalStateUnknown{Obj: gone},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			failures, made := 1, make(chan struct{}, 1)
			api := fake.NewClientBuilder().WithObjects(installed()).WithInterceptorFuncs(interceptor.Funcs{
				Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
					if failures > 0 {
						failures--
						return errors.New("not now")
					}
					defer func() { made <- struct{}{} }()
					return c.Create(ctx, o, opts...)
				},
			}).Build()
			k := newKeeper(api, api, where, chart, logr.Discard())
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- k.Start(ctx) }()
			k.observe(told)
			k.observe(told) // and nobody waits for the second
			select {
			case <-made:
			case <-time.After(patience):
				t.Fatal("it was not made anew")
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			var now corev1.Secret
			if err := api.Get(t.Context(), where, &now); err != nil || now.Type != corev1.SecretTypeOpaque || len(now.Data) != 0 {
				t.Errorf("wanted an empty Secret, found %+v, %v", now, err)
			}
			if now.Labels["app.kubernetes.io/managed-by"] != "Helm" || now.Annotations["meta.helm.sh/release-name"] != "tidegate" || len(now.Annotations) != 1 {
				t.Errorf("wanted one that Helm takes away with the chart, found %v, %v", now.Labels, now.Annotations)
			}
		})
	}
}

func TestASecretThatIsThereIsLeftAlone(t *testing.T) {
	t.Parallel()
	is := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: where.Namespace, Name: where.Name}, Data: map[string][]byte{keyCert: []byte("mine")}}
	api := fake.NewClientBuilder().WithObjects(is).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
			t.Error("something was made")
			return nil
		},
	}).Build()
	k := newKeeper(api, api, where, chart, logr.Discard())
	if err := k.ensure(t.Context()); err != nil {
		t.Error(err)
	}
	other := is.DeepCopy()
	other.Name = "another"
	k.observe(other)
	select {
	case <-k.lost:
		t.Error("another Secret was taken for it")
	default:
	}
}

func TestAfterTheChartNothingComesBack(t *testing.T) {
	t.Parallel()
	api := fake.NewClientBuilder().Build()
	if err := newKeeper(api, api, where, chart, logr.Discard()).ensure(t.Context()); err != nil {
		t.Error(err)
	}
	if err := api.Get(t.Context(), where, &corev1.Secret{}); err == nil {
		t.Error("wanted nothing made once the chart is gone, found the Secret")
	}
	if err := newKeeper(api, api, where, types.NamespacedName{}, logr.Discard()).ensure(t.Context()); err != nil {
		t.Error(err)
	}
	if err := api.Get(t.Context(), where, &corev1.Secret{}); err != nil {
		t.Errorf("without a chart to look at: %v", err)
	}
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	t.Parallel()
	api := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return errors.New("no answer")
		},
	}).Build()
	if err := newKeeper(api, api, where, chart, logr.Discard()).ensure(t.Context()); err == nil {
		t.Error("wanted an error, since nobody knows whether it is there")
	}
}
