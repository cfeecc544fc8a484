package command

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// recordedRefusal is a Deployment that a writer of the Gate made and that a policy refused.
func recordedRefusal(message string) string {
	return `{"format":"tidegate.io/record/v1","version":"v1","time":"2026-11-23T03:00:00Z","path":"/gate","identity":"manager","managerNamespace":"tidegate-system",
 "redactedVerdictDiffers":false,
 "verdict":{"allowed":false,"code":"TG-POLICY-DENY","status":403,"message":"TG-POLICY-DENY: ` + message + ` (policy p)","auditAnnotations":{"code":"TG-POLICY-DENY","policy":"p"}},
 "review":{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","kind":{"group":"apps","version":"v1","kind":"Deployment"},"resource":{"group":"apps","version":"v1","resource":"deployments"},
  "namespace":"shop","name":"x","operation":"CREATE","userInfo":{"username":"ci"},"object":{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"x","namespace":"shop"}}}},
 "objects":[{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}},
  {"apiVersion":"tidegate.io/v1alpha1","kind":"Gate","metadata":{"name":"g"},"spec":{"namespaces":{"names":["shop"]},"writers":["ci"]}}],
 "policies":[{"deployPolicy":{"apiVersion":"tidegate.io/v1alpha1","kind":"DeployPolicy","metadata":{"name":"p"},"spec":{"rego":"package p\ndeny contains sprintf(\"no %s\", [input.object.kind])"}}}]}`
}

func TestPolicyReplay(t *testing.T) {
	dir := written(t, map[string]string{
		"same/a.record.json": recordedRefusal("no Deployment"), "same/readme.txt": "x",
		"other/b.record.json": recordedRefusal("no Pod"),
		"new/c.record.json":   strings.Replace(recordedRefusal("no Deployment"), "record/v1", "record/v2", 1),
		"none/readme.txt":     "x",
		"milder/p.yaml":       "apiVersion: tidegate.io/v1alpha1\nkind: DeployPolicy\nmetadata: {name: p}\nspec: {enforcement: warn, rego: \"package p\\ndeny contains \\\"mind\\\"\"}\n",
		"broken/p.yaml":       "apiVersion: tidegate.io/v1alpha1\nkind: DeployPolicy\nmetadata: {name: p}\nspec: {rego: \"package p\\ndeny contains\"}\n",
	})
	for name, tc := range map[string]struct {
		args []string
		code int
		out  []string
		err  string
	}{
		"the same":                         {[]string{"same"}, 0, []string{"refused TG-POLICY-DENY  refused TG-POLICY-DENY  same", "1 the same, 0 differ, 0 could not be judged"}, ""},
		"one file":                         {[]string{"same/a.record.json"}, 0, []string{"1 the same"}, ""},
		"another verdict":                  {[]string{"same", "other"}, 1, []string{"1 the same, 1 differ", "- TG-POLICY-DENY: no Pod (policy p)", "+ TG-POLICY-DENY: no Deployment (policy p)"}, ""},
		"other policies":                   {[]string{"same", "--policies", filepath.Join(dir, "milder")}, 1, []string{"refused TG-POLICY-DENY  allowed", "+ warning: TG-POLICY-DENY: mind (policy p)"}, ""},
		"a record of another format":       {[]string{"same", "new"}, 2, []string{"1 the same, 0 differ, 1 could not be judged", "replay it with the version of tidegate that wrote it"}, ""},
		"no records":                       {[]string{"none"}, 2, nil, "wanted records (*.record.json)"},
		"nothing there":                    {[]string{"gone"}, 2, nil, "reading records"},
		"policies that do not compile":     {[]string{"same", "--policies", filepath.Join(dir, "broken")}, 2, nil, "compiling policy"},
		"no policies where some are named": {[]string{"same", "--policies", filepath.Join(dir, "none")}, 2, nil, "wanted manifests"},
		"a form that there is not":         {[]string{"same", "-o", "yaml"}, 2, nil, "wanted table or json"},
		"nothing to judge":                 {nil, 2, nil, "wanted at least one file or folder"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			t.Chdir(dir)
			w.wantCode(w.run(t.Context(), append([]string{"policy", "replay"}, tc.args...)...), tc.code)
			wantPart(t, "out", w.out.String(), tc.out...)
			wantPart(t, "err", w.err.String(), tc.err)
		})
	}
	w := newWorld(t, interceptor.Funcs{})
	t.Chdir(dir)
	w.wantCode(w.run(t.Context(), "policy", "replay", "same", "other", "-o", "json"), 1)
	lines := strings.Split(strings.TrimSpace(w.out.String()), "\n")
	var last replayed
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || len(lines) != 2 {
		t.Fatalf("wanted two objects, found %v in:\n%s", err, w.out.String())
	}
	if last.Same || last.File != "other/b.record.json" || last.Path != "/gate" || len(last.Diff) != 2 || last.Now == nil || last.Now.Code != "TG-POLICY-DENY" {
		t.Errorf("found %+v", last)
	}
}
