package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/test/stage"
)

const (
	// glassActor is on call, and glassSecond is who approves.
	glassActor, glassSecond = "oncall", "second"
)

// TestBreakGlass lets somebody past the managed flow, in front of a real API server with the
// chart and a manager process: for what is named and as long as it lasts, and no further.
func TestBreakGlass(t *testing.T) {
	p := onStage(t)
	p.begin()
	p.kubectl(stage.Admin, glassRoles, "apply", "-f", "-")
	g := &glassPlay{play: p}
	g.rule(`{"maxDuration": "20m", "approval": "SecondPerson", "users": ["oncall"]}`)
	g.look()
	// Who changes something else than the spec, or claims to be the author, is not.
	p.kubectl(stage.Admin, "", "annotate", "release", app, "-n", stage.Namespace, "--overwrite", "note=seen", v1alpha1.AnnotationAuthor+"=bob")
	if author := g.release().Annotations[v1alpha1.AnnotationAuthor]; author != stage.Team {
		t.Errorf("wanted the Release to carry its author %s, found %q", stage.Team, author)
	}

	g.Run("who does not have one is refused", g.without)
	g.Run("it is made for what is named, by whom the Gate lists", g.made)
	g.Run("it waits for a second person", g.approved)
	g.Run("what it names can be changed, stays, and is on record", g.used)
	g.Run("it neither changes nor disappears", g.kept)
	g.Run("a pod that it names can be reached", g.reached)
	g.Run("revoked, it ends at once and the Release counts again", g.revoked)
	g.Run("it ends on time though no manager runs", g.expired)
}

const glassRoles = `
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: oncall, namespace: shop},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tidegate-bypass}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: oncall}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: oncall-admin, namespace: shop},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: oncall}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: second, namespace: shop},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tidegate-bypass-approve}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: second}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: second-edit, namespace: shop},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: second}]}
`

type glassPlay struct {
	*play
	// deployment serves the Release; pod is one of it, and other another.
	deployment, pod, other string
}

// rule sets what the Gate says of exemptions.
func (g *glassPlay) rule(rule string) {
	g.Helper()
	gate := strings.TrimSpace(g.kubectl(stage.Admin, "", "get", "gates", "-o", "jsonpath={.items[0].metadata.name}"))
	g.kubectl(stage.Admin, "", "patch", "gate", gate, "--type=merge", "-p", `{"spec": {"breakGlass": `+rule+`}}`)
	g.await("gate "+gate+" is enforced", func() (bool, string) {
		out := g.kubectl(stage.Admin, "", "get", "gate", gate, "-o", `jsonpath={.metadata.generation} {.status.observedGeneration} {.status.conditions[?(@.type=="Ready")].status}`)
		words := strings.Fields(out)
		return len(words) == 3 && words[0] == words[1] && words[2] == "True", out
	})
}

func (g *glassPlay) look() {
	g.Helper()
	g.deployment = app + "-" + g.release().Status.Revision
	pods := strings.Fields(g.kubectl(stage.Admin, "", "get", "pods", "-n", stage.Namespace, "-l", v1alpha1.LabelRelease+"="+app, "-o", "jsonpath={.items[*].metadata.name}"))
	if len(pods) < 2 {
		g.Fatalf("wanted two pods of %s, found %q", app, pods)
	}
	g.pod, g.other = pods[0], pods[1]
}

func (g *glassPlay) named(name string) *v1alpha1.BreakGlass {
	g.Helper()
	var b v1alpha1.BreakGlass
	raw := g.kubectl(stage.Admin, "", "get", "breakglass", name, "-n", stage.Namespace, "-o", "json")
	if err := json.Unmarshal([]byte(raw), &b); err != nil {
		g.Fatal(err)
	}
	return &b
}

func (g *glassPlay) image(tag string, extra ...string) (string, error) {
	return g.Kubectl(g.Context(), glassActor, "", append([]string{"set", "image", "deployment/" + g.deployment, "-n", stage.Namespace, "*=shop.example/cart:" + tag}, extra...)...)
}

func (g *glassPlay) debug(pod string) (string, error) {
	return g.Kubectl(g.Context(), glassActor, "", "debug", pod, "-n", stage.Namespace, "--image=busybox:1", "--quiet", "-c", fmt.Sprintf("debug-%d", time.Now().UnixNano()))
}

func (g *glassPlay) exec(ctx context.Context, pod string) string {
	out, _ := g.Kubectl(ctx, glassActor, "", "exec", pod, "-n", stage.Namespace, "--", "true")
	return out
}

func (g *glassPlay) tidegate(user string, args ...string) (string, error) {
	return g.Tidegate(g.Context(), user, append([]string{"breakglass", "-n", stage.Namespace}, args...)...)
}

// refused checks that something was refused in these words.
func refused(t *testing.T, what, out string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(out, want) {
		t.Errorf("%s: wanted it refused with %q, found %v: %s", what, want, err, out)
	}
}

func (g *glassPlay) without(t *testing.T) {
	out, err := g.image("9.9.9")
	refused(t, "another image", out, err, "TG-GATE-BYPASS")
	out, err = g.debug(g.pod)
	refused(t, "a container for debugging", out, err, "TG-GATE-DEBUG")
	if out := g.exec(t.Context(), g.pod); !strings.Contains(out, "TG-GATE-EXEC") {
		t.Errorf("exec: wanted TG-GATE-EXEC, found %s", out)
	}
}

func (g *glassPlay) made(t *testing.T) {
	for name, tc := range map[string]struct {
		user   string
		object string
		lasts  string
		want   string
	}{
		"who is not on call":        {stage.Admin, "deployments/" + g.deployment, "5m", "TG-BREAKGLASS-FORBIDDEN"},
		"too long":                  {glassActor, "deployments/" + g.deployment, "21m", "TG-BREAKGLASS-FORBIDDEN"},
		"a pattern":                 {glassActor, "deployments/cart-*", "5m", "spec.objects[0].name"},
		"Tidegate's own":            {glassActor, "releases.tidegate.io/cart", "5m", "TG-BREAKGLASS-INVALID"},
		"what controllers make":     {glassActor, "replicasets.apps/" + g.deployment, "5m", "TG-BREAKGLASS-INVALID"},
		"a resource and a wildcard": {glassActor, "*.apps/" + g.deployment, "5m", "spec.objects[0].resource"},
	} {
		out, err := g.tidegate(tc.user, "create", "bad", "--object", tc.object, "--for", tc.lasts, "--reason", "INC-4711: it should not be")
		refused(t, name, out, err, tc.want)
	}
	past := fmt.Sprintf(`{"apiVersion": "tidegate.io/v1alpha1", "kind": "BreakGlass", "metadata": {"name": "past", "namespace": "shop"},
		"spec": {"objects": [{"group": "apps", "resource": "deployments", "name": %q}], "reason": "INC-4711: too late", "expiresAt": "2020-01-01T00:00:00Z"}}`, g.deployment)
	out, err := g.Kubectl(t.Context(), glassActor, past, "create", "-f", "-")
	refused(t, "an expiry in the past", out, err, "TG-BREAKGLASS-INVALID")
	elsewhere := strings.NewReplacer(`"shop"`, `"playground"`, "2020", "2099").Replace(past)
	out, err = g.Kubectl(t.Context(), stage.Admin, elsewhere, "create", "-f", "-")
	refused(t, "a namespace that is not governed", out, err, "TG-BREAKGLASS-FORBIDDEN")

	out, err = g.tidegate(glassActor, "create", "night", "--object", "deployments/"+g.deployment, "--object", "pods/"+g.pod, "--for", "10m", "--reason", "INC-4711: out of memory")
	if err != nil || !strings.Contains(out, "night: Pending") {
		t.Fatalf("wanted it to wait for approval, found %v: %s", err, out)
	}
	if b := g.named("night"); b.Spec.Actor != glassActor {
		t.Errorf("wanted %s as the actor, found %q", glassActor, b.Spec.Actor)
	}
}

func (g *glassPlay) approved(t *testing.T) {
	out, err := g.image("9.9.9")
	refused(t, "before it is approved", out, err, "TG-GATE-BYPASS")
	out, err = g.tidegate(glassActor, "approve", "night")
	refused(t, "its author's approval", out, err, "TG-BREAKGLASS-SELF")
	forged := fmt.Sprintf(`{"apiVersion": "tidegate.io/v1alpha1", "kind": "BreakGlassCommand", "metadata": {"name": "forged", "namespace": "shop"},
		"spec": {"breakGlass": "night", "uid": %q, "action": "approve", "actor": "second"}}`, g.named("night").UID)
	out, err = g.Kubectl(t.Context(), glassActor, forged, "create", "-f", "-")
	refused(t, "an approval in another's name", out, err, "TG-BREAKGLASS-SELF")
	out, err = g.Kubectl(t.Context(), glassSecond, strings.Replace(forged, string(g.named("night").UID), "an-older-one", 1), "create", "-f", "-")
	refused(t, "an approval of another one", out, err, "TG-COMMAND-INVALID")
	out, err = g.Kubectl(t.Context(), glassActor, "", "patch", "breakglass", "night", "-n", stage.Namespace, "--subresource=status", "--type=merge", "-p", `{"status": {"phase": "Live", "approvedBy": "second"}}`)
	refused(t, "a status of one's own", out, err, "TG-KIND-READONLY")

	if out, err = g.tidegate(glassSecond, "approve", "night", "--reason", "seen"); err != nil || !strings.Contains(out, "night: Live") {
		t.Fatalf("wanted it in force, found %v: %s", err, out)
	}
	if b := g.named("night"); b.Status.ApprovedBy != glassSecond {
		t.Errorf("wanted %s to be named, found %+v", glassSecond, b.Status)
	}
}

func (g *glassPlay) used(t *testing.T) {
	if out, err := g.image("9.9.9", "--dry-run=server"); err != nil {
		t.Errorf("a dry run: %v: %s", err, out)
	}
	if b := g.named("night"); b.Status.UseCount != 0 {
		t.Errorf("wanted a dry run to use nothing, found %+v", b.Status.Uses)
	}
	out, err := g.image("9.9.9")
	if err != nil || !strings.Contains(out, "BreakGlass night lets this past the managed flow") {
		t.Fatalf("wanted it let through with a warning, found %v: %s", err, out)
	}
	out, err = g.Kubectl(t.Context(), glassSecond, "", "scale", "deployment", g.deployment, "-n", stage.Namespace, "--replicas=1")
	refused(t, "somebody else", out, err, "TG-GATE-BYPASS")
	out, err = g.Kubectl(t.Context(), glassActor, "", "create", "deployment", "another", "-n", stage.Namespace, "--image=x")
	refused(t, "another object", out, err, "TG-GATE-BYPASS")
	out, err = g.Kubectl(t.Context(), glassActor, "", "delete", "deployments", "--all", "-n", stage.Namespace, "--dry-run=server")
	if err == nil && !strings.Contains(out, g.deployment) {
		t.Errorf("deleting by name what is named: %s", out)
	}
	raw := "/apis/apps/v1/namespaces/shop/deployments?dryRun=All"
	out, err = g.Kubectl(t.Context(), glassActor, "", "delete", "--raw", raw)
	refused(t, "a collection", out, err, "TG-GATE-BYPASS")

	// It stays: Tidegate leaves it alone for as long as it lasts.
	g.pass(5 * time.Second)
	if live := g.liveImage(); !strings.HasSuffix(live, ":9.9.9") {
		t.Errorf("wanted the change to stay while the exemption lasts, found %s", live)
	}
	b := g.named("night")
	if b.Status.UseCount != 1 || b.Status.Uses[0].User != glassActor || b.Status.Uses[0].Release != app || b.Status.Uses[0].Request == "" {
		t.Errorf("wanted one use on record, found %+v", b.Status)
	}
	g.await("the use in the Release's status", func() (bool, string) {
		list := g.release().Status.BreakGlass
		return len(list) == 1 && list[0].Name == "night" && list[0].Actor == glassActor && list[0].Uses == 1, fmt.Sprint(list)
	})
	g.await("an event of the use", func() (bool, string) {
		out := g.kubectl(stage.Admin, "", "get", "events.events.k8s.io", "-n", stage.Namespace, "-o", `jsonpath={range .items[*]}{.reason}: {.note}{"\n"}{end}`)
		return strings.Contains(out, "BreakGlassUsed: oncall past the managed flow: UPDATE of deployments"), out
	})
}

func (g *glassPlay) liveImage() string {
	g.Helper()
	return g.kubectl(stage.Admin, "", "get", "deployment", g.deployment, "-n", stage.Namespace, "-o", "jsonpath={.spec.template.spec.containers[0].image}")
}

func (g *glassPlay) kept(t *testing.T) {
	out, err := g.Kubectl(t.Context(), glassActor, "", "patch", "breakglass", "night", "-n", stage.Namespace, "--type=merge", "-p", `{"spec": {"expiresAt": "2099-01-01T00:00:00Z"}}`)
	refused(t, "a later end", out, err, "a BreakGlass never changes")
	out, err = g.Kubectl(t.Context(), glassActor, "", "delete", "breakglass", "night", "-n", stage.Namespace)
	refused(t, "deleting it", out, err, "TG-BREAKGLASS-INVALID")
	command := strings.Fields(g.kubectl(stage.Admin, "", "get", "breakglasscommands", "-n", stage.Namespace, "-o", "name"))[0]
	out, err = g.Kubectl(t.Context(), stage.Admin, "", "delete", command, "-n", stage.Namespace)
	refused(t, "deleting a decision", out, err, "TG-KIND-READONLY")
}

func (g *glassPlay) reached(t *testing.T) {
	// Nothing of the pods was taken away meanwhile? The rolling change may have: look again.
	pods := g.kubectl(stage.Admin, "", "get", "pods", "-n", stage.Namespace, "-o", "name")
	if !strings.Contains(pods, g.pod) {
		t.Logf("pod %s was replaced by the change; making another exemption", g.pod)
		g.look()
		out, err := g.tidegate(glassActor, "create", "reach", "--object", "pods/"+g.pod, "--for", "10m", "--reason", "INC-4711: look into it")
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if out, err := g.tidegate(glassSecond, "approve", "reach"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	began := time.Now()
	var out string
	var err error
	g.await("a container for debugging", func() (bool, string) {
		out, err = g.debug(g.pod)
		return err == nil, out
	})
	t.Logf("ring 1 let it through %s after it was in force", time.Since(began).Round(time.Millisecond))
	// No container runs behind the pods, so being let through means another error.
	if out := g.exec(t.Context(), g.pod); strings.Contains(out, "TG-") {
		t.Errorf("exec into the pod: wanted it let through, found %s", out)
	}
	out, err = g.debug(g.other)
	refused(t, "another pod", out, err, "TG-GATE-DEBUG")
	out, err = g.Kubectl(t.Context(), glassActor, "", "label", "pod", g.pod, "-n", stage.Namespace, "a=b")
	refused(t, "writing the pod", out, err, "TG-GATE-POD")
	out, err = g.Kubectl(t.Context(), stage.Admin, "", "debug", g.pod, "-n", stage.Namespace, "--image=busybox:1", "--quiet")
	refused(t, "somebody else", out, err, "TG-GATE-DEBUG")
}

func (g *glassPlay) revoked(t *testing.T) {
	if out, err := g.tidegate(glassActor, "revoke", "night", "--reason", "done"); err != nil || !strings.Contains(out, "night: Revoked") {
		t.Fatalf("wanted it revoked, found %v: %s", err, out)
	}
	out, err := g.image("9.9.8")
	refused(t, "after it was revoked", out, err, "TG-GATE-BYPASS")
	g.await("what the Release says", func() (bool, string) {
		live := g.liveImage()
		return strings.HasSuffix(live, ":1.0.0"), live
	})
	if out, err := g.Kubectl(t.Context(), glassActor, "", "delete", "breakglass", "night", "-n", stage.Namespace); err != nil {
		t.Errorf("deleting one that has ended: %v: %s", err, out)
	}
	out, err = g.tidegate(glassActor, "create", "night", "--object", "deployments/"+g.deployment, "--for", "10m", "--reason", "INC-4711: again")
	if err != nil || !strings.Contains(out, "night: Pending") {
		t.Errorf("wanted the approval of the one before not to count, found %v: %s", err, out)
	}
}

func (g *glassPlay) expired(t *testing.T) {
	g.rule(`{"maxDuration": "20m", "approval": "None", "users": ["oncall"]}`)
	g.look()
	out, err := g.tidegate(glassActor, "create", "short", "--object", "pods/"+g.pod, "--object", "deployments/"+g.deployment, "--for", "15s", "--reason", "INC-4712: only for seconds")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ends := g.named("short").Spec.ExpiresAt.Time
	g.await("ring 1 lets it through", func() (bool, string) {
		out := g.exec(t.Context(), g.pod)
		return !strings.Contains(out, "TG-"), out
	})
	if err := g.KillManager(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.pass(time.Until(ends) + time.Second)
	// Ring 1 still lists it, and nobody takes it out.
	if out := g.exec(t.Context(), g.pod); !strings.Contains(out, "failed calling webhook") {
		t.Errorf("exec after the end: wanted the webhook to be asked, found %s", out)
	}
	out, err = g.image("9.9.7")
	refused(t, "another image after the end", out, err, "failed calling webhook")
	if _, err := g.StartManager(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.await("ring 1 refuses by itself", func() (bool, string) {
		out := g.exec(t.Context(), g.pod)
		return strings.Contains(out, "TG-GATE-EXEC"), out
	})
	g.await("it is on record that it has ended", func() (bool, string) {
		b := g.named("short")
		return b.Status.Phase == v1alpha1.BreakGlassEnded && b.Status.EndedAt != nil, fmt.Sprint(b.Status)
	})
}
