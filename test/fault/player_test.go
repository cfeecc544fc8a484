package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// player does at once what the controllers of Kubernetes, its nodes and a gateway would do:
// every pod that is asked for is there and available, every route is accepted.
type player struct {
	lab *lab

	mu sync.Mutex
	// pods are the revisions of the pods of each StatefulSet, by ordinal.
	pods map[client.ObjectKey][]string
}

func newPlayer(l *lab) *player { return &player{lab: l, pods: map[client.ObjectKey][]string{}} }

func (p *player) play(ctx context.Context) {
	for e := range p.lab.journal.follow(ctx, "") {
		if e.deleted {
			continue
		}
		status := p.statusOf(e.object)
		if status == nil {
			continue
		}
		go func() {
			if d, ok := e.object.(*appsv1.Deployment); ok {
				p.list(ctx, d)
			}
			p.write(ctx, e.object, status)
		}()
	}
}

// statusOf is what is to be said of an object, nil where it is said already.
func (p *player) statusOf(o client.Object) any {
	switch o := o.(type) {
	case *appsv1.Deployment:
		if o.Status.ObservedGeneration == o.Generation {
			return nil
		}
		n := *o.Spec.Replicas
		return appsv1.DeploymentStatus{ObservedGeneration: o.Generation, Replicas: n, UpdatedReplicas: n, ReadyReplicas: n, AvailableReplicas: n}
	case *appsv1.StatefulSet:
		if o.Status.ObservedGeneration == o.Generation {
			return nil
		}
		return p.stateful(o)
	case *gatewayv1.HTTPRoute:
		if accepted(o) {
			return nil
		}
		return acceptance(o)
	case *batchv1.Job:
		if len(o.Status.Conditions) == 0 {
			return succeeded(o)
		}
	}
	return nil
}

// succeeded is a Job whose one pod has ended well.
func succeeded(job *batchv1.Job) any {
	at := job.CreationTimestamp.UTC().Format(time.RFC3339)
	var conditions []any
	for _, kind := range []batchv1.JobConditionType{batchv1.JobSuccessCriteriaMet, batchv1.JobComplete} {
		conditions = append(conditions, map[string]any{"type": kind, "status": "True", "lastProbeTime": at, "lastTransitionTime": at})
	}
	return map[string]any{"startTime": at, "completionTime": at, "succeeded": 1, "conditions": conditions}
}

// stateful replaces the pods from the partition on.
func (p *player) stateful(s *appsv1.StatefulSet) any {
	p.mu.Lock()
	defer p.mu.Unlock()
	revision := s.Spec.Template.Labels[v1alpha1.LabelRevision]
	partition := partitionOf(s)
	key := client.ObjectKeyFromObject(s)
	pods := make([]string, *s.Spec.Replicas)
	copy(pods, p.pods[key])
	updated := int32(0)
	for i := range pods {
		if int32(i) >= partition || pods[i] == "" {
			pods[i] = revision
		}
		if pods[i] == revision {
			updated++
		}
	}
	p.pods[key] = pods
	n := int32(len(pods))
	return appsv1.StatefulSetStatus{
		ObservedGeneration: s.Generation, Replicas: n, ReadyReplicas: n, AvailableReplicas: n, CurrentReplicas: n - updated, UpdatedReplicas: updated,
	}
}

// list has the Service of a set, which has its name, lead to all of its pods.
func (p *player) list(ctx context.Context, d *appsv1.Deployment) {
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: d.Name}, AddressType: discoveryv1.AddressTypeIPv4}
	slice.Labels = map[string]string{
		discoveryv1.LabelServiceName: d.Name, v1alpha1.LabelManagedBy: v1alpha1.ManagedBy, v1alpha1.LabelRelease: d.Labels[v1alpha1.LabelRelease],
	}
	for i := range *d.Spec.Replicas {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{fmt.Sprintf("10.0.0.%d", i+1)}})
	}
	err := p.lab.client.Create(ctx, slice)
	if apierrors.IsAlreadyExists(err) {
		err = p.lab.client.Update(ctx, slice)
	}
	if err != nil && ctx.Err() == nil {
		p.lab.t.Errorf("playing the endpoints of %s: %v", client.ObjectKeyFromObject(d), err)
	}
}

func partitionOf(s *appsv1.StatefulSet) int32 {
	if r := s.Spec.UpdateStrategy.RollingUpdate; r != nil && r.Partition != nil {
		return *r.Partition
	}
	return 0
}

func (p *player) write(ctx context.Context, o client.Object, status any) {
	body, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		p.lab.t.Error(err)
		return
	}
	o, ok := o.DeepCopyObject().(client.Object)
	if !ok {
		return
	}
	err = p.lab.client.Status().Patch(ctx, o, client.RawPatch(types.MergePatchType, body), client.FieldOwner("player"))
	if client.IgnoreNotFound(err) != nil && ctx.Err() == nil {
		p.lab.t.Errorf("playing what stands behind %T %s: %v", o, client.ObjectKeyFromObject(o), err)
	}
}

func accepted(route *gatewayv1.HTTPRoute) bool {
	for _, parent := range route.Status.Parents {
		for _, c := range parent.Conditions {
			if c.ObservedGeneration != route.Generation {
				return false
			}
		}
	}
	return len(route.Status.Parents) > 0
}

func acceptance(route *gatewayv1.HTTPRoute) any {
	var parents []any
	for _, ref := range route.Spec.ParentRefs {
		var conditions []any
		for _, kind := range []string{"Accepted", "ResolvedRefs"} {
			conditions = append(conditions, map[string]any{
				"type": kind, "status": "True", "reason": kind, "message": "", "observedGeneration": route.Generation,
				"lastTransitionTime": route.CreationTimestamp.UTC().Format(time.RFC3339),
			})
		}
		parents = append(parents, map[string]any{"parentRef": ref, "controllerName": "test.tidegate.io/gateway", "conditions": conditions})
	}
	return map[string]any{"parents": parents}
}
