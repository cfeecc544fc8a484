package gates

import (
	"context"
	"fmt"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// stand writes ring 1, then ring 2, then takes away what no Gate asks for.
func (l *Loop) stand(ctx context.Context, gates []v1alpha1.Gate, s Standing) error {
	for i := range s.Policies {
		if err := l.ensure(ctx, s.Policies[i], &admissionregistrationv1.ValidatingAdmissionPolicy{}); err != nil {
			return err
		}
		if err := l.ensure(ctx, s.Bindings[i], &admissionregistrationv1.ValidatingAdmissionPolicyBinding{}); err != nil {
			return err
		}
	}
	if err := l.ring2(ctx, len(gates), s.Webhook); err != nil {
		return err
	}
	names := make([]string, 0, len(gates))
	for i := range gates {
		names = append(names, PolicyName(gates[i].Name))
	}
	var bindings admissionregistrationv1.ValidatingAdmissionPolicyBindingList
	var policies admissionregistrationv1.ValidatingAdmissionPolicyList
	for _, list := range []client.ObjectList{&bindings, &policies} {
		if err := l.Live.List(ctx, list, client.HasLabels{LabelGate}); err != nil {
			return fmt.Errorf("listing admission objects: %w", err)
		}
		objects, err := meta.ExtractList(list)
		if err != nil {
			return fmt.Errorf("listing admission objects: %w", err)
		}
		for _, o := range objects {
			object, ok := o.(client.Object)
			if !ok || slices.Contains(names, object.GetName()) {
				continue
			}
			if err := l.Client.Delete(ctx, object); client.IgnoreNotFound(err) != nil {
				return fmt.Errorf("deleting %s of a Gate that is gone: %w", object.GetName(), err)
			}
			ctrl.LoggerFrom(ctx).Info("admission object of a deleted Gate removed", "name", object.GetName())
		}
	}
	return nil
}

// ring2 writes the webhook configuration. Without a Gate there is none, so that nothing is
// left behind when Tidegate is uninstalled after its Gates.
func (l *Loop) ring2(ctx context.Context, gates int, w *admissionregistrationv1.ValidatingWebhookConfiguration) error {
	if gates > 0 {
		return l.ensure(ctx, w, &admissionregistrationv1.ValidatingWebhookConfiguration{})
	}
	var live admissionregistrationv1.ValidatingWebhookConfiguration
	err := l.Live.Get(ctx, client.ObjectKeyFromObject(w), &live)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the webhook configuration: %w", err)
	}
	if err := l.Client.Delete(ctx, &live); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting the webhook configuration, now that there is no Gate: %w", err)
	}
	ctrl.LoggerFrom(ctx).Info("webhook configuration removed, since there is no Gate", "name", live.Name)
	return nil
}

// ensure makes an object be exactly as wanted. It is replaced as a whole and not applied:
// what somebody else added to it, such as a condition that lets requests through, must
// go.
func (l *Loop) ensure(ctx context.Context, want, live client.Object) error {
	kind := want.GetObjectKind().GroupVersionKind().Kind
	err := l.Live.Get(ctx, client.ObjectKeyFromObject(want), live)
	if apierrors.IsNotFound(err) {
		asked := copyOf(want)
		if err := l.Client.Create(ctx, want, client.FieldOwner(v1alpha1.FieldManager)); err != nil {
			return refusedError(fmt.Errorf("creating %s %q: %w", kind, want.GetName(), err), kind, want)
		}
		return asWritten(kind, asked, want)
	}
	if err != nil {
		return fmt.Errorf("reading %s %q: %w", kind, want.GetName(), err)
	}
	if same(want, live) {
		return nil
	}
	want.SetResourceVersion(live.GetResourceVersion())
	want.SetUID(live.GetUID())
	asked := copyOf(want)
	if err := l.Client.Update(ctx, want, client.FieldOwner(v1alpha1.FieldManager)); err != nil {
		return refusedError(fmt.Errorf("updating %s %q: %w", kind, want.GetName(), err), kind, want)
	}
	ctrl.LoggerFrom(ctx).Info("admission object brought up to date", "kind", kind, "name", want.GetName())
	return asWritten(kind, asked, want)
}

func copyOf(o client.Object) client.Object {
	c, ok := o.DeepCopyObject().(client.Object)
	if !ok {
		return o
	}
	return c
}

// alteredError is that what was written is not what it was asked to be: on its way it passes
// the mutating policies of others.
type alteredError struct {
	kind, name string
	// refused is whether the guards saw it; what stood before stands then.
	refused bool
}

func (e *alteredError) Error() string {
	meanwhile := "all that the webhook judges is refused"
	if e.refused {
		meanwhile = "what stood before stands, and in new namespaces all that the webhook judges is refused"
	}
	return fmt.Sprintf("%s: wanted %s %q as Tidegate writes it, found it changed on its way by a mutating policy; "+
		"until that is gone, %s; do: kubectl get mutatingadmissionpolicies, and delete the one that matches %s",
		ReasonAltered, e.kind, e.name, meanwhile, admissionregistrationv1.GroupName)
}

// refusedError tells whether it was the guards that refused, which look at what a write has
// become.
func refusedError(err error, kind string, want client.Object) error {
	if apierrors.IsForbidden(err) && strings.Contains(err.Error(), ReasonGuard) {
		return &alteredError{kind: kind, name: want.GetName(), refused: true}
	}
	return err
}

// asWritten compares what was asked for with what the API server answered.
func asWritten(kind string, asked, answered client.Object) error {
	if same(asked, answered) {
		return nil
	}
	return &alteredError{kind: kind, name: asked.GetName()}
}

func same(want, live client.Object) bool {
	if !equality.Semantic.DeepEqual(want.GetLabels(), live.GetLabels()) ||
		!equality.Semantic.DeepEqual(want.GetOwnerReferences(), live.GetOwnerReferences()) {
		return false
	}
	switch w := want.(type) {
	case *admissionregistrationv1.ValidatingAdmissionPolicy:
		l, ok := live.(*admissionregistrationv1.ValidatingAdmissionPolicy)
		return ok && equality.Semantic.DeepEqual(w.Spec, l.Spec)
	case *admissionregistrationv1.ValidatingAdmissionPolicyBinding:
		l, ok := live.(*admissionregistrationv1.ValidatingAdmissionPolicyBinding)
		return ok && equality.Semantic.DeepEqual(w.Spec, l.Spec)
	case *admissionregistrationv1.ValidatingWebhookConfiguration:
		l, ok := live.(*admissionregistrationv1.ValidatingWebhookConfiguration)
		return ok && equality.Semantic.DeepEqual(w.Webhooks, l.Webhooks)
	}
	return false
}
