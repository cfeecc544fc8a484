package render

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
)

// objectMistake is something that is wrong with one rendered object.
type objectMistake struct {
	id, code, message string
}

// kind tells mistakes apart that have different causes, roughly: by code and kind of object.
func (m objectMistake) kind(in *objectSet) string { return m.code + " " + in.objects[m.id].GetKind() }

// objectSet is what one Release renders to, for rules between its objects, and rules that
// the types of Kubernetes do not express. Package manifest has checked the rest.
type objectSet struct {
	// ids are in the order in which objects were added.
	ids     []string
	objects map[string]*unstructured.Unstructured
	// workloads are the objects that pods come from.
	workloads map[string]*workload
	mistakes  []objectMistake
}

// workload is an object that pods come from.
type workload struct {
	labels labels.Set
	pod    corev1.PodSpec
	// claims are the names of volumes that a StatefulSet makes.
	claims []string
}

func newObjectSet() *objectSet {
	return &objectSet{objects: map[string]*unstructured.Unstructured{}, workloads: map[string]*workload{}}
}

func (s *objectSet) add(id string, o *unstructured.Unstructured) {
	s.ids = append(s.ids, id)
	s.objects[id] = o
	path := []string{"spec", "template"}
	if o.GetKind() == "CronJob" {
		path = []string{"spec", "jobTemplate", "spec", "template"}
	}
	template, found, err := unstructured.NestedMap(o.Object, path...)
	if err != nil || !found || o.GetKind() == "ExternalSecret" {
		return
	}
	pods, err := as[corev1.PodTemplateSpec](template)
	if err != nil {
		return // The strict decoding of package manifest has said so.
	}
	w := &workload{labels: pods.Labels, pod: pods.Spec}
	claims, _, err := unstructured.NestedSlice(o.Object, "spec", "volumeClaimTemplates")
	if err == nil {
		for _, c := range claims {
			if claim, err := as[corev1.PersistentVolumeClaim](c); err == nil {
				w.claims = append(w.claims, claim.Name)
			}
		}
	}
	s.workloads[id] = w
}

// as decodes what JSON gave into a type of Kubernetes.
func as[T any](content any) (*T, error) {
	into := new(T)
	data, err := json.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return nil, fmt.Errorf("decoding: %w", err)
	}
	return into, nil
}

func (s *objectSet) fail(id, code, format string, args ...any) {
	s.mistakes = append(s.mistakes, objectMistake{id: id, code: code, message: fmt.Sprintf(format, args...)})
}

// lint returns what is wrong with the objects.
func (s *objectSet) lint() []objectMistake {
	for _, id := range s.ids {
		o := s.objects[id]
		s.labels(id, "metadata.labels", o.GetLabels())
		if w := s.workloads[id]; w != nil {
			s.workload(id, w)
		}
		switch o.GetKind() {
		case "Service":
			s.service(id, o)
		case "PodDisruptionBudget":
			if b, err := as[policyv1.PodDisruptionBudget](o.Object); err == nil {
				s.selects(id, "spec.selector", b.Spec.Selector)
			}
		case "HorizontalPodAutoscaler":
			s.autoscaler(id, o)
		}
	}
	return s.mistakes
}

func (s *objectSet) labels(id, path string, l map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(l)) {
		wrong := append(validation.IsQualifiedName(name), validation.IsValidLabelValue(l[name])...)
		if len(wrong) > 0 {
			why, _, _ := strings.Cut(wrong[0], " (e.g.")
			s.fail(id, CodeObject, "wanted a label that Kubernetes takes in %s, found %s: %q: %s", path, name, l[name], why)
		}
	}
}

func (s *objectSet) workload(id string, w *workload) {
	s.labels(id, "the labels of the pods", w.labels)
	names := map[string]bool{}
	for _, c := range slices.Concat(w.pod.InitContainers, w.pod.Containers) {
		if names[c.Name] {
			s.fail(id, CodeObject, "wanted each container's name once, found %q again", c.Name)
		}
		names[c.Name] = true
		s.container(id, w, c)
	}
}

func (s *objectSet) container(id string, w *workload, c corev1.Container) {
	in := func(field string) string { return fmt.Sprintf("container %q: %s", c.Name, field) }
	if wrong := validation.IsDNS1123Label(c.Name); len(wrong) > 0 {
		s.fail(id, CodeObject, "wanted a container's name of lower case letters, digits and dashes, found %q", c.Name)
	}
	if !slices.Contains([]corev1.PullPolicy{"", corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever}, c.ImagePullPolicy) {
		s.fail(id, CodeObject, "%s: wanted Always, IfNotPresent or Never, found %q", in("imagePullPolicy"), c.ImagePullPolicy)
	}
	s.containerPorts(id, c)
	s.probes(id, c)
	s.resources(id, c)
	volumes := slices.Clone(w.claims)
	for _, v := range w.pod.Volumes {
		volumes = append(volumes, v.Name)
	}
	for _, m := range c.VolumeMounts {
		if !slices.Contains(volumes, m.Name) {
			s.fail(id, CodeObject, "%s: wanted one of the pod's volumes (%s), found %q", in("volumeMounts"), quoted(volumes), m.Name)
		}
	}
	seen := map[string]bool{}
	for _, e := range c.Env {
		if seen[e.Name] {
			s.fail(id, CodeObject, "%s: wanted each name once, found %q again, of which the last one counts", in("env"), e.Name)
		}
		seen[e.Name] = true
	}
}

func (s *objectSet) containerPorts(id string, c corev1.Container) {
	names := map[string]bool{}
	for _, p := range c.Ports {
		if wrong := validation.IsValidPortNum(int(p.ContainerPort)); len(wrong) > 0 {
			s.fail(id, CodePort, "container %q: wanted a containerPort from 1 to 65535, found %d", c.Name, p.ContainerPort)
		}
		if !slices.Contains([]corev1.Protocol{"", corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}, p.Protocol) {
			s.fail(id, CodePort, "container %q: wanted protocol TCP, UDP or SCTP, found %q", c.Name, p.Protocol)
		}
		if p.Name == "" {
			continue
		}
		if wrong := validation.IsValidPortName(p.Name); len(wrong) > 0 {
			s.fail(id, CodePort, "container %q: wanted a port's name of at most 15 lower case letters, digits and dashes, found %q", c.Name, p.Name)
		}
		if names[p.Name] {
			s.fail(id, CodePort, "container %q: wanted each port's name once, found %q again", c.Name, p.Name)
		}
		names[p.Name] = true
	}
}

func (s *objectSet) probes(id string, c corev1.Container) {
	for _, p := range []struct {
		field string
		probe *corev1.Probe
	}{{"readinessProbe", c.ReadinessProbe}, {"livenessProbe", c.LivenessProbe}, {"startupProbe", c.StartupProbe}} {
		if p.probe == nil {
			continue
		}
		path := fmt.Sprintf("container %q: %s", c.Name, p.field)
		switch {
		case p.probe.HTTPGet != nil:
			s.targets(id, path, p.probe.HTTPGet.Port, []corev1.Container{c})
		case p.probe.TCPSocket != nil:
			s.targets(id, path, p.probe.TCPSocket.Port, []corev1.Container{c})
		case p.probe.GRPC != nil:
			s.targets(id, path, intstr.FromInt32(p.probe.GRPC.Port), []corev1.Container{c})
		}
	}
}

// targets checks that port is a port's name or number in one of the containers. Numbers
// need not be declared there, but have to be ports.
func (s *objectSet) targets(id, path string, port intstr.IntOrString, containers []corev1.Container) {
	if port.Type == intstr.Int {
		if wrong := validation.IsValidPortNum(port.IntValue()); len(wrong) > 0 {
			s.fail(id, CodePort, "%s: wanted a port from 1 to 65535, found %d", path, port.IntValue())
		}
		return
	}
	var known []string
	for _, c := range containers {
		for _, p := range c.Ports {
			if p.Name != "" {
				known = append(known, p.Name)
			}
		}
	}
	if !slices.Contains(known, port.StrVal) {
		s.fail(id, CodePort, "%s: wanted the name of a container's port (%s), found %q", path, quoted(known), port.StrVal)
	}
}

func (s *objectSet) resources(id string, c corev1.Container) {
	for _, name := range slices.Sorted(maps.Keys(c.Resources.Requests)) {
		request := c.Resources.Requests[name]
		if request.Sign() < 0 {
			s.fail(id, CodeObject, "container %q: wanted a request of at least 0 for %s, found %s", c.Name, name, request.String())
		}
		if limit, ok := c.Resources.Limits[name]; ok && request.Cmp(limit) > 0 {
			s.fail(id, CodeObject, "container %q: wanted a request for %s within its limit of %s, found %s", c.Name, name, limit.String(), request.String())
		}
	}
}

func (s *objectSet) service(id string, o *unstructured.Unstructured) {
	service, err := as[corev1.Service](o.Object)
	if err != nil || len(service.Spec.Selector) == 0 {
		return
	}
	containers := s.selects(id, "spec.selector", &metav1.LabelSelector{MatchLabels: service.Spec.Selector})
	names, numbers := map[string]bool{}, map[string]bool{}
	for _, p := range service.Spec.Ports {
		number := fmt.Sprintf("%d/%s", p.Port, cmp.Or(p.Protocol, corev1.ProtocolTCP))
		if numbers[number] {
			s.fail(id, CodePort, "wanted each port and protocol once in spec.ports, found %s again", number)
		}
		numbers[number] = true
		if wrong := validation.IsValidPortNum(int(p.Port)); len(wrong) > 0 {
			s.fail(id, CodePort, "wanted a port from 1 to 65535 in spec.ports, found %d", p.Port)
		}
		if p.Name == "" && len(service.Spec.Ports) > 1 {
			s.fail(id, CodePort, "wanted a name for each of several ports in spec.ports, found none for port %d", p.Port)
		}
		if names[p.Name] && p.Name != "" {
			s.fail(id, CodePort, "wanted each name once in spec.ports, found %q again", p.Name)
		}
		names[p.Name] = true
		if len(containers) == 0 {
			continue
		}
		s.target(id, p, containers)
	}
}

// target checks that somebody listens where a Service sends its requests.
func (s *objectSet) target(id string, p corev1.ServicePort, containers []corev1.Container) {
	target := p.TargetPort
	if target == (intstr.IntOrString{}) {
		target = intstr.FromInt32(p.Port)
	}
	path := fmt.Sprintf("spec.ports, targetPort of %d", p.Port)
	s.targets(id, path, target, containers)
	if target.Type != intstr.Int || len(validation.IsValidPortNum(target.IntValue())) > 0 {
		return
	}
	var declared []string
	for _, c := range containers {
		for _, port := range c.Ports {
			if port.ContainerPort == target.IntVal {
				return
			}
			declared = append(declared, fmt.Sprint(port.ContainerPort))
		}
	}
	if len(declared) > 0 {
		s.fail(id, CodePort, "%s: wanted a port that a container declares (%s), found %s", path, quoted(declared), target.String())
	}
}

// selects checks that a selector takes in pods of some workload, and returns their
// containers.
func (s *objectSet) selects(id, path string, selector *metav1.LabelSelector) []corev1.Container {
	if selector == nil || len(s.workloads) == 0 {
		return nil
	}
	by, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		s.fail(id, CodeSelector, "wanted a label selector in %s: %v", path, err)
		return nil
	}
	var containers []corev1.Container
	for _, other := range s.ids {
		if w := s.workloads[other]; w != nil && by.Matches(w.labels) {
			containers = append(containers, w.pod.Containers...)
		}
	}
	if len(containers) == 0 {
		s.fail(id, CodeSelector, "wanted %s to take in the pods of a workload of the template, found that %s takes in none", path, by)
	}
	return containers
}

func (s *objectSet) autoscaler(id string, o *unstructured.Unstructured) {
	a, err := as[autoscalingv2.HorizontalPodAutoscaler](o.Object)
	if err != nil {
		return
	}
	target := a.Spec.ScaleTargetRef
	for _, other := range s.ids {
		w := s.objects[other]
		if w.GetAPIVersion() == target.APIVersion && w.GetKind() == target.Kind && w.GetName() == target.Name {
			return
		}
	}
	s.fail(id, CodeSelector, "wanted spec.scaleTargetRef to name a workload of the template, found %s %s", target.Kind, target.Name)
}
