package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// podsOf compares the pods of a namespace with the templates of what made them.
func podsOf(ctx context.Context, c Cluster, namespace string) (int, []Finding, error) {
	var (
		list         corev1.PodList
		replicaSets  appsv1.ReplicaSetList
		statefulSets appsv1.StatefulSetList
		daemonSets   appsv1.DaemonSetList
		jobs         batchv1.JobList
		controllers  corev1.ReplicationControllerList
	)
	var errs []error
	for _, l := range []client.ObjectList{&list, &replicaSets, &statefulSets, &daemonSets, &jobs, &controllers} {
		errs = append(errs, c.Client.List(ctx, l, client.InNamespace(namespace)))
	}
	if err := errors.Join(errs...); err != nil {
		return 0, nil, err
	}
	made := map[types.UID]*corev1.PodSpec{}
	for i := range replicaSets.Items {
		made[replicaSets.Items[i].UID] = &replicaSets.Items[i].Spec.Template.Spec
	}
	// These change their template while pods of the one before still run; names of
	// containers are compared all the same, and images are not.
	rolling := map[types.UID]bool{}
	for i := range statefulSets.Items {
		made[statefulSets.Items[i].UID], rolling[statefulSets.Items[i].UID] = &statefulSets.Items[i].Spec.Template.Spec, true
	}
	for i := range daemonSets.Items {
		made[daemonSets.Items[i].UID], rolling[daemonSets.Items[i].UID] = &daemonSets.Items[i].Spec.Template.Spec, true
	}
	for i := range controllers.Items {
		if template := controllers.Items[i].Spec.Template; template != nil {
			made[controllers.Items[i].UID], rolling[controllers.Items[i].UID] = &template.Spec, true
		}
	}
	for i := range jobs.Items {
		made[jobs.Items[i].UID] = &jobs.Items[i].Spec.Template.Spec
	}
	var out []Finding
	for i := range list.Items {
		p := &list.Items[i]
		owner := metav1.GetControllerOf(p)
		if _, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
			out = append(out, failed(fmt.Sprintf("take its file away on node %s (kubelet's staticPodPath)", p.Spec.NodeName),
				"pod %s/%s is a static pod: it comes from a file on node %s, of which no admission is asked", namespace, p.Name, p.Spec.NodeName))
			continue
		}
		if owner == nil || made[owner.UID] == nil {
			out = append(out, failed(fmt.Sprintf("kubectl -n %s get pod %s -o yaml; delete it if nobody means it", namespace, p.Name),
				"pod %s/%s was made by nothing that is there: it is older than the Gate, or came in beside it", namespace, p.Name))
			continue
		}
		for j := range p.Spec.EphemeralContainers {
			e := &p.Spec.EphemeralContainers[j]
			out = append(out, warning(fmt.Sprintf("evict the pod when the work in it is done, since a container for debugging stays: kubectl drain, or the eviction of pod %s", p.Name),
				"pod %s/%s has container %q (%s) for debugging", namespace, p.Name, e.Name, e.Image))
		}
		if d := strange(made[owner.UID], &p.Spec, rolling[owner.UID]); len(d) > 0 {
			out = append(out, failed("kubectl get mutatingwebhookconfigurations,mutatingadmissionpolicies: something changes pods on their way; exclude the namespace there",
				"pod %s/%s is not what %s %s says: %s", namespace, p.Name, owner.Kind, owner.Name, strings.Join(d, ", ")))
		}
	}
	return len(list.Items), out, nil
}

// strange are the containers of a pod that its template does not have, or has with another
// image, command, arguments or variable.
func strange(template, pod *corev1.PodSpec, rolling bool) []string {
	var out []string
	compare := func(kind string, want, got []corev1.Container) {
		for i := range got {
			g := &got[i]
			at := slices.IndexFunc(want, func(w corev1.Container) bool { return w.Name == g.Name })
			if at < 0 {
				out = append(out, fmt.Sprintf("%s %q (%s) was put in", kind, g.Name, g.Image))
				continue
			}
			if w := &want[at]; !rolling {
				switch {
				case w.Image != g.Image:
					out = append(out, fmt.Sprintf("%s %q has image %s instead of %s", kind, g.Name, g.Image, w.Image))
				case !slices.Equal(w.Command, g.Command) || !slices.Equal(w.Args, g.Args):
					out = append(out, fmt.Sprintf("%s %q has another command", kind, g.Name))
				case len(g.Env) > len(w.Env) || len(g.EnvFrom) > len(w.EnvFrom):
					out = append(out, fmt.Sprintf("%s %q has more variables", kind, g.Name))
				}
			}
		}
	}
	compare("container", template.Containers, pod.Containers)
	compare("init container", template.InitContainers, pod.InitContainers)
	for what, is := range map[string]bool{"network": pod.HostNetwork && !template.HostNetwork, "processes": pod.HostPID && !template.HostPID, "IPC": pod.HostIPC && !template.HostIPC} {
		if is {
			out = append(out, "it shares the node's "+what)
		}
	}
	slices.Sort(out)
	return out
}
