package gates

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/govern"
)

// Codes of ring 1's denials.
const (
	// ReasonPod is: a pod, or what makes pods, was written by somebody else than the
	// built-in controllers.
	ReasonPod = "TG-GATE-POD"
	// ReasonExec is: a connection into a pod.
	ReasonExec = "TG-GATE-EXEC"
	// ReasonDebug is: an ephemeral container.
	ReasonDebug = "TG-GATE-DEBUG"
	// ReasonEviction is: an eviction that the Gate does not allow.
	ReasonEviction = "TG-GATE-EVICTION"
	// ReasonRoute is: the status of a route, written by somebody else than a gateway.
	ReasonRoute = "TG-GATE-ROUTE"
	// ReasonGap is: a namespace that came under a Gate a moment ago, or the webhook is not
	// set up yet.
	ReasonGap = "TG-GATE-PENDING"
)

// The topics that a request is about; each has a validation of its own, so that exactly
// one message is given.
const (
	topicExec     = "exec"
	topicDebug    = "debug"
	topicEviction = "eviction"
	topicPod      = "pod"
	topicRoute    = "route"
	topicGap      = "gap"
)

// policy is ring 1 for one Gate. An error in any expression denies (failurePolicy Fail),
// so the namespaces that the cluster itself needs are kept out by the selector, before
// any expression is evaluated.
func policy(g *v1alpha1.Gate, s Selection, settled []string, o Options) *admissionregistrationv1.ValidatingAdmissionPolicy {
	kinds := slices.Concat(govern.DefaultKinds(), govern.ExtraKinds(g), govern.RouteStatuses(g))
	named := make([]admissionregistrationv1.NamedRuleWithOperations, 0, len(kinds))
	for _, r := range rules(kinds) {
		named = append(named, admissionregistrationv1.NamedRuleWithOperations{RuleWithOperations: r})
	}
	return &admissionregistrationv1.ValidatingAdmissionPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: admissionregistrationv1.SchemeGroupVersion.String(), Kind: "ValidatingAdmissionPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: PolicyName(g.Name), Labels: labels(g.Name), OwnerReferences: owner(g)},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: new(admissionregistrationv1.Fail),
			MatchConstraints: &admissionregistrationv1.MatchResources{
				MatchPolicy:       new(admissionregistrationv1.Equivalent),
				NamespaceSelector: namespaceSelector(g, s, o.ManagerNamespace),
				ObjectSelector:    &metav1.LabelSelector{},
				ResourceRules:     named,
			},
			MatchConditions: []admissionregistrationv1.MatchCondition{{Name: "governable", Expression: governable(g, s, o)}},
			Variables:       variables(g, s, settled, o),
			Validations:     validations(g),
		},
	}
}

// namespaceSelector is exact where the Gate names its namespaces, and otherwise leaves
// out what is never governed.
func namespaceSelector(g *v1alpha1.Gate, s Selection, managerNamespace string) *metav1.LabelSelector {
	if scope := g.Spec.Namespaces; len(scope.Patterns) == 0 && scope.Selector == nil {
		if names := listed(g, s, managerNamespace); len(names) > 0 {
			return in(names)
		}
	}
	not := []string{"kube-node-lease", "kube-public", "kube-system", managerNamespace}
	slices.Sort(not)
	return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
		Key: "kubernetes.io/metadata.name", Operator: metav1.LabelSelectorOpNotIn, Values: slices.Compact(not),
	}}}
}

// governable leaves out what the name of the namespace alone can leave out. The labels of
// the namespace are not known to match conditions, so a selector is a variable.
func governable(g *v1alpha1.Gate, s Selection, o Options) string {
	never := fmt.Sprintf(`!request.namespace.startsWith("kube-") && request.namespace != %s`, quote(o.ManagerNamespace))
	if g.Spec.Namespaces.Selector != nil {
		return never
	}
	return never + " && (" + byName(g, s) + ")"
}

// byName is true in namespaces that are listed or match a pattern.
func byName(g *v1alpha1.Gate, s Selection) string {
	names := append(slices.Clone(g.Spec.Namespaces.Names), s.Selected...)
	slices.Sort(names)
	terms := []string{"request.namespace in " + list(slices.Compact(names))}
	for _, p := range slices.Sorted(slices.Values(g.Spec.Namespaces.Patterns)) {
		// A pattern has no other characters than those of names and *.
		terms = append(terms, fmt.Sprintf("request.namespace.matches(%s)", quote("^"+strings.ReplaceAll(p, "*", ".*")+"$")))
	}
	return strings.Join(terms, " || ")
}

// bySelector is a label selector in CEL, over the labels of the namespace.
func bySelector(s *metav1.LabelSelector) string {
	terms := []string{}
	for _, k := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		terms = append(terms, fmt.Sprintf("(%s in variables.labels && variables.labels[%s] == %s)", quote(k), quote(k), quote(s.MatchLabels[k])))
	}
	for _, e := range s.MatchExpressions {
		k, values := quote(e.Key), list(slices.Sorted(slices.Values(e.Values)))
		switch e.Operator {
		case metav1.LabelSelectorOpIn:
			terms = append(terms, fmt.Sprintf("(%s in variables.labels && variables.labels[%s] in %s)", k, k, values))
		case metav1.LabelSelectorOpNotIn:
			terms = append(terms, fmt.Sprintf("!(%s in variables.labels && variables.labels[%s] in %s)", k, k, values))
		case metav1.LabelSelectorOpExists:
			terms = append(terms, fmt.Sprintf("(%s in variables.labels)", k))
		case metav1.LabelSelectorOpDoesNotExist:
			terms = append(terms, fmt.Sprintf("!(%s in variables.labels)", k))
		}
	}
	if len(terms) == 0 {
		return "true"
	}
	return strings.Join(terms, " && ")
}

const (
	noLabels   = "(has(object.metadata.labels) ? object.metadata.labels : {}) == (has(oldObject.metadata.labels) ? oldObject.metadata.labels : {})"
	nodePrefix = `"system:node:"`
)

func hasReleaseLabel(object string) string {
	return fmt.Sprintf(`(%[1]s != null && has(%[1]s.metadata) && has(%[1]s.metadata.labels) && %[2]s in %[1]s.metadata.labels)`,
		object, quote(v1alpha1.LabelRelease))
}

// variables are evaluated only where they are used. `what` and `key` are the words that
// the tables of package govern use.
func variables(g *v1alpha1.Gate, s Selection, settled []string, o Options) []admissionregistrationv1.Variable {
	labelled, server := groupResources(func(k govern.Kind) bool {
		return k.Labelled && govern.Labelled(g, schema.GroupResource{Group: k.Group, Resource: k.Resource})
	}),
		groupResources(func(k govern.Kind) bool { return k.Ring == govern.RingServer })
	var sub []string // "/pods" has subresources of ring 1 besides the one whose word is pods.
	for _, r := range server {
		if plain, ok := strings.CutSuffix(r, "/*"); ok {
			sub = append(sub, plain)
		}
	}
	governed := "true"
	vs := []admissionregistrationv1.Variable{}
	if selector := g.Spec.Namespaces.Selector; selector != nil {
		vs = append(vs, admissionregistrationv1.Variable{Name: "labels", Expression: "has(namespaceObject.metadata.labels) ? namespaceObject.metadata.labels : {}"})
		governed = byName(g, s) + " || (" + bySelector(selector) + ")"
	}
	writers := append([]string{o.Identity}, g.Spec.Writers...)
	slices.Sort(writers)
	vs = append(vs,
		admissionregistrationv1.Variable{Name: "governed", Expression: governed},
		admissionregistrationv1.Variable{Name: "user", Expression: "request.userInfo.username"},
		admissionregistrationv1.Variable{Name: "sub", Expression: `has(request.subResource) ? request.subResource : ""`},
		admissionregistrationv1.Variable{Name: "what", Expression: `request.resource.resource + (variables.sub != "" ? "/" + variables.sub : "")`},
		// The group is absent, not empty, for the core group.
		admissionregistrationv1.Variable{Name: "group", Expression: `has(request.resource.group) ? request.resource.group : ""`},
		admissionregistrationv1.Variable{Name: "key", Expression: `variables.group + "/" + variables.what + " " + request.operation`},
		// A collection is deleted, and an object with generateName created, without a name.
		admissionregistrationv1.Variable{Name: "name", Expression: `has(request.name) && request.name != "" ? request.name : ` +
			`oldObject != null && has(oldObject.metadata) && has(oldObject.metadata.name) ? string(oldObject.metadata.name) : ` +
			`object != null && has(object.metadata) && has(object.metadata.name) ? string(object.metadata.name) : ` +
			`object != null && has(object.metadata) && has(object.metadata.generateName) ? string(object.metadata.generateName) + "*" : ""`},
		// Only for messages: no permission follows from a label.
		admissionregistrationv1.Variable{Name: "release", Expression: hasReleaseLabel("oldObject") + ` ? string(oldObject.metadata.labels["tidegate.io/release"]) : ` +
			hasReleaseLabel("object") + ` ? string(object.metadata.labels["tidegate.io/release"]) : ""`},
		admissionregistrationv1.Variable{Name: "writer", Expression: "variables.user in " + list(slices.Compact(writers))},
		admissionregistrationv1.Variable{Name: "controllers", Expression: controllers(g)},
		admissionregistrationv1.Variable{Name: "cleaners", Expression: cleaners()},
		admissionregistrationv1.Variable{Name: "builtin", Expression: `(variables.key in variables.controllers && variables.user in variables.controllers[variables.key]) || ` +
			`(variables.sub == "" && request.operation in variables.cleaners && variables.user in variables.cleaners[request.operation])`},
		// A node writes the status of, and deletes, the pods that are bound to it.
		admissionregistrationv1.Variable{Name: "node", Expression: `variables.user.startsWith(` + nodePrefix + `) && has(request.userInfo.groups) && "system:nodes" in request.userInfo.groups && ` +
			`variables.key in ["/pods DELETE", "/pods/status UPDATE"] && ` +
			`oldObject != null && has(oldObject.spec.nodeName) && variables.user == ` + nodePrefix + ` + oldObject.spec.nodeName`},
		// Status writes keep labels, which could lead a Service's traffic to the pod.
		admissionregistrationv1.Variable{Name: "labelsKept", Expression: `variables.key != "/pods/status UPDATE" || (object != null && oldObject != null && ` + noLabels + `)`},
		admissionregistrationv1.Variable{Name: "topic", Expression: fmt.Sprintf(
			`variables.group == "" && (request.resource.resource == "pods" && variables.sub in ["attach", "exec", "portforward", "proxy"] || variables.what == "services/proxy") ? %q : `+
				`variables.group == "" && variables.what == "pods/ephemeralcontainers" ? %q : `+
				`variables.group == "" && variables.what == "pods/eviction" ? %q : `+
				`(variables.group + "/" + variables.what) in %s ? %q : `+
				`(variables.group + "/" + variables.what) in %s || (variables.group + "/" + request.resource.resource) in %s ? %q : %q`,
			topicExec, topicDebug, topicEviction, list(names(govern.RouteStatuses(g))), topicRoute, list(server), list(sub), topicPod, topicGap)},
		admissionregistrationv1.Variable{Name: "settled", Expression: "request.namespace in " + list(slices.Sorted(slices.Values(settled)))},
		admissionregistrationv1.Variable{Name: "own", Expression: `variables.sub == "" && (variables.group + "/" + variables.what) in ` + list(labelled) + ` && !` +
			hasReleaseLabel("object") + ` && !` + hasReleaseLabel("oldObject")},
	)
	if g.Spec.BreakGlass != nil {
		vs = append(vs, glassVariable(o))
	}
	return vs
}

// groupResources lists "group/resource" of the default kinds, sorted.
func groupResources(keep func(govern.Kind) bool) []string {
	return names(filter(govern.DefaultKinds(), keep))
}

func names(kinds []govern.Kind) []string {
	out := make([]string, 0, len(kinds))
	for _, k := range kinds {
		out = append(out, k.Group+"/"+k.Resource)
	}
	slices.Sort(out)
	return out
}

// controllers is the table of who does what, as a CEL map from "group/resource OPERATION"
// to user names. Cleanup, which is the same for every resource, is apart.
func controllers(g *v1alpha1.Gate) string {
	table := map[string][]string{}
	for _, k := range append(govern.DefaultKinds(), govern.ExtraKinds(g)...) {
		resource, sub, _ := strings.Cut(k.Resource, "/")
		subs := []string{sub}
		if sub == "*" {
			subs = []string{"binding", "status"}
		}
		for _, sub := range subs {
			for _, op := range []string{govern.Create, govern.Update, govern.Delete} {
				users := govern.Controllers(schema.GroupResource{Group: k.Group, Resource: resource}, sub, op)
				if sub == "" {
					users = slices.DeleteFunc(users, func(u string) bool { return slices.Contains(govern.Cleaners(op), u) })
				}
				if len(users) == 0 {
					continue
				}
				key := k.Group + "/" + resource
				if sub != "" {
					key += "/" + sub
				}
				table[key+" "+op] = users
			}
		}
	}
	entries := make([]string, 0, len(table))
	for _, key := range slices.Sorted(maps.Keys(table)) {
		entries = append(entries, quote(key)+": "+list(table[key]))
	}
	return "{" + strings.Join(entries, ", ") + "}"
}

func cleaners() string {
	entries := []string{}
	for _, op := range []string{govern.Delete, govern.Update} {
		entries = append(entries, quote(op)+": "+list(govern.Cleaners(op)))
	}
	return "{" + strings.Join(entries, ", ") + "}"
}

// validations has one for each topic.
func validations(g *v1alpha1.Gate) []admissionregistrationv1.Validation {
	exec := slices.Sorted(slices.Values(g.Spec.Allow.Exec))
	debug := slices.Sorted(slices.Values(g.Spec.Allow.Debug))
	autoscalers := slices.Sorted(slices.Values(g.Spec.Allow.Autoscalers))
	edit := fmt.Sprintf("kubectl edit gate %s", g.Name)
	out := []admissionregistrationv1.Validation{
		validation(topicExec, orGlass(g, fmt.Sprintf(`variables.writer || (variables.sub != "proxy" && variables.user in %s)`, list(exec))),
			ReasonExec, fmt.Sprintf("wanted: a user that allow.exec of Gate %q lists", g.Name),
			quote("ask the platform team for it: "+edit)),
		validation(topicDebug, orGlass(g, fmt.Sprintf(`variables.writer || variables.user in %s`, list(debug))),
			ReasonDebug, fmt.Sprintf("wanted: a user that allow.debug of Gate %q lists", g.Name),
			quote("ask the platform team for it: "+edit)),
		validation(topicPod, `variables.writer || ((variables.builtin || variables.node) && variables.labelsKept)`,
			ReasonPod, "may be written by the built-in controllers only; wanted: changes through a Release", podRemedy(g)),
		validation(topicGap, fmt.Sprintf(`variables.settled || variables.writer || variables.builtin || variables.own || (variables.sub == "scale" && request.operation == "UPDATE" && variables.user in %s)`, list(autoscalers)),
			ReasonGap, "wanted: the webhook set up for this namespace, which takes some seconds after a Gate or a namespace is made",
			quote(fmt.Sprintf("try again; if it persists: kubectl describe gate %s", g.Name))),
	}
	if gateways := slices.Sorted(slices.Values(g.Spec.Allow.Gateways)); len(gateways) > 0 {
		out = append(out, validation(topicRoute, fmt.Sprintf(`variables.writer || variables.user in %s`, list(gateways)),
			ReasonRoute, fmt.Sprintf("wanted: a gateway controller that allow.gateways of Gate %q lists", g.Name),
			quote("ask the platform team for it: "+edit)))
	}
	if !allowsEviction(g) {
		out = append(out, validation(topicEviction, "variables.writer",
			ReasonEviction, fmt.Sprintf("wanted: no evictions, as allow.eviction of Gate %q says", g.Name),
			quote("ask the platform team for it: "+edit)))
	}
	return out
}

// release is a CEL expression: what to do about a pod. On what is made by hand the label
// tells nothing about who manages it.
const release = `(variables.release != "" && request.operation == "CREATE" ? "create a Release, which makes the pods: kubectl explain release.spec; ` +
	`the label ` + v1alpha1.LabelRelease + ` is Tidegate's alone to set" : ` +
	`variables.release != "" ? "kubectl edit release " + variables.release + " -n " + request.namespace : ` +
	`"create a Release, which makes the pods: kubectl explain release.spec")`

// evict is a CEL expression: who deletes a pod mostly wants another in its place. kubectl
// has no verb for it.
const evict = `"to have a pod replaced, evict it: echo '{\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\",\"metadata\":{\"name\":\"" + variables.name + "\"}}' | ` +
	`kubectl create --raw /api/v1/namespaces/" + request.namespace + "/pods/" + variables.name + "/eviction -f -, or all of a node: kubectl drain; to change what runs: "`

// podRemedy is a CEL expression: release, and before it, where the Gate allows evictions
// and a pod is deleted, evict.
func podRemedy(g *v1alpha1.Gate) string {
	if !allowsEviction(g) {
		return release
	}
	return `(variables.key == "/pods DELETE" ? ` + evict + ` : "") + ` + release
}

func allowsEviction(g *v1alpha1.Gate) bool {
	return g.Spec.Allow.Eviction == nil || *g.Spec.Allow.Eviction
}

// validation denies, in governed namespaces, what is about a topic and not permitted. A
// message expression that fails would be replaced by the raw expression, which nobody
// understands; so it is made of guarded variables only, and a plain message stands behind.
func validation(topic, permitted, code, wanted, do string) admissionregistrationv1.Validation {
	return admissionregistrationv1.Validation{
		Expression: fmt.Sprintf(`!variables.governed || variables.topic != %q || %s`, topic, permitted),
		Message:    code + ": " + wanted,
		MessageExpression: strings.Join([]string{
			quote(code + ": "), "variables.what", `" \""`, "variables.name", `"\" in namespace \""`, "request.namespace", quote("\" " + wanted + ", found: "),
			"request.operation", `" by \""`, "variables.user", `"\"; do: "`, do,
		}, " + "),
		Reason: new(metav1.StatusReasonForbidden),
	}
}

// quote is a CEL string literal; Go's escapes in ASCII are CEL's as well.
func quote(s string) string { return strconv.QuoteToASCII(s) }

func list(values []string) string {
	quoted := make([]string, 0, len(values))
	for _, v := range values {
		quoted = append(quoted, quote(v))
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
