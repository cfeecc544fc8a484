package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/govern"
)

// own judges writes of Tidegate's own kinds.
type own struct{ Config }

// Resources of group tidegate.io.
const (
	releases           = "releases"
	releaseTemplates   = "releasetemplates"
	templateRevisions  = "templaterevisions"
	rollouts           = "rollouts"
	rolloutCommands    = "rolloutcommands"
	templateCommands   = "templatecommands"
	deployPolicies     = "deploypolicies"
	gateResource       = "gates"
	metricSources      = "metricsources"
	breakGlasses       = "breakglasses"
	breakGlassCommands = "breakglasscommands"
)

func (h *own) judge(ctx context.Context, r admission.Request) answer {
	if r.Resource.Group == certificatesGroup && r.Resource.Resource == signingRequests {
		return h.certificate(r)
	}
	if r.Resource.Group != v1alpha1.GroupVersion.Group {
		return deny(ReasonMalformed, "wanted a kind of group %s, found %s.%s; do: look at the rules of ValidatingWebhookConfiguration tidegate",
			v1alpha1.GroupVersion.Group, r.Resource.Resource, r.Resource.Group)
	}
	if r.SubResource != "" {
		return h.readonly(r)
	}
	switch r.Resource.Resource {
	case rollouts, templateRevisions:
		return h.readonly(r)
	case releases:
		return h.release(ctx, r)
	case releaseTemplates:
		return h.template(ctx, r)
	case rolloutCommands:
		return h.rolloutCommand(ctx, r)
	case templateCommands:
		return h.templateCommand(ctx, r)
	case deployPolicies:
		return h.policy(ctx, r)
	case gateResource:
		return h.gate(r)
	case metricSources:
		return h.source(r)
	case breakGlasses:
		return h.breakGlass(ctx, r)
	case breakGlassCommands:
		return h.breakGlassCommand(ctx, r)
	}
	return deny(ReasonMalformed, "wanted a kind that this version knows, found %q; do: upgrade Tidegate's manager to the version of its CRDs", r.Resource.Resource)
}

// tidegates says whether the request is Tidegate's own, or that of a built-in controller
// which cleans up.
func (h *own) tidegates(r admission.Request) bool {
	gr := schema.GroupResource{Group: r.Resource.Group, Resource: r.Resource.Resource}
	return r.UserInfo.Username == h.Identity ||
		slices.Contains(govern.Controllers(gr, r.SubResource, string(r.Operation)), r.UserInfo.Username)
}

// readonly refuses everybody but Tidegate.
func (h *own) readonly(r admission.Request) answer {
	if h.tidegates(r) {
		return answer{}
	}
	what := r.Resource.Resource
	if r.SubResource != "" {
		what += "/" + r.SubResource
	}
	do := "change what it is made from: a Release, a ReleaseTemplate"
	switch r.Resource.Resource {
	case rollouts:
		do = "act on a Rollout by a command (tidegate approve, tidegate abort), or change its Release: kubectl get releases -n " + r.Namespace
	case templateRevisions:
		do = "publish another revision by editing its template: kubectl edit releasetemplate NAME"
	case rolloutCommands, templateCommands, breakGlassCommands:
		do = "create another command; the ones there are the record of what was decided"
	}
	return deny(ReasonReadonly, "%s %q%s is written by Tidegate alone; wanted: %q, found: %s by %q; do: %s",
		what, r.Name, inNamespace(r), h.Identity, r.Operation, r.UserInfo.Username, do)
}

func inNamespace(r admission.Request) string {
	if r.Namespace == "" {
		return ""
	}
	return fmt.Sprintf(" in namespace %q", r.Namespace)
}

// decode reads an object of a request. An object that is not there, or is not JSON of its
// kind, is a denial.
func decode[T any](what string, raw []byte) (*T, *answer) {
	o := new(T)
	if len(present(raw)) == 0 {
		a := deny(ReasonMalformed, "wanted %s, found nothing; do: send the object as kubectl does", what)
		return nil, &a
	}
	if err := json.Unmarshal(raw, o); err != nil {
		a := deny(ReasonMalformed, "wanted %s, found: %v; do: kubectl explain, then correct it", what, err)
		return nil, &a
	}
	return o, nil
}

// itemized puts one item on each line below a title, or behind it when there is but one.
func itemized(items []string) string {
	if len(items) == 1 && !strings.Contains(items[0], "\n") {
		return " " + items[0]
	}
	return "\n  " + strings.ReplaceAll(strings.Join(items, "\n"), "\n", "\n  ")
}
