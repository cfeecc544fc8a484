package stage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/schemas/templates"
	"tidegate.io/tidegate/test/cluster/local"
	"tidegate.io/tidegate/test/cluster/traffic/pods"
)

// build builds the product's two programs; the Go build cache makes it quick.
func (s *Stage) build(ctx context.Context) error {
	s.dir = filepath.Join(s.root, ".demo", "bin")
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", s.dir+string(filepath.Separator), "./cmd/tidegate", "./cmd/tidegate-manager")
	cmd.Dir = s.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

func (s *Stage) startCluster(ctx context.Context, o Options) error {
	var err error
	s.Cluster, err = local.Start(ctx, local.Options{
		Name: o.Name, ManualReadiness: !o.Bare, Prometheus: !o.Bare, Gateway: true, APIServerArgs: o.APIServerArgs, Log: s.progress,
	})
	if err != nil {
		return err
	}
	if s.webhookPort, err = s.Cluster.FreePort(ctx); err != nil {
		return err
	}
	_, err = s.Kubectl(ctx, Admin, gatewayManifest, "apply", "--server-side", "-f", "-")
	return err
}

func (s *Stage) servePods(ctx context.Context) error {
	if err := s.grant(ctx, pods.UserName, pods.PolicyRules()); err != nil {
		return err
	}
	path, err := s.Kubeconfig(pods.UserName)
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 100, 200
	s.Pods, err = pods.Serve(context.WithoutCancel(ctx), pods.Options{RESTConfig: config, PodCIDR: s.Cluster.PodCIDR()})
	return err
}

// grant gives a user cluster-wide rights.
func (s *Stage) grant(ctx context.Context, user string, rules any) error {
	name := "stage:" + strings.ReplaceAll(user, ":", "-")
	manifest, err := documents(
		map[string]any{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
			"metadata": map[string]any{"name": name}, "rules": rules,
		},
		map[string]any{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
			"metadata": map[string]any{"name": name},
			"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
			"subjects": []any{map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}},
		},
	)
	if err != nil {
		return err
	}
	_, err = s.Kubectl(ctx, Admin, manifest, "apply", "-f", "-")
	return err
}

func (s *Stage) makeTenants(ctx context.Context) error {
	_, err := s.Kubectl(ctx, Admin, tenantsManifest, "apply", "-f", "-")
	return err
}

// installChart installs the chart as a platform team would, but for the manager, which runs beside
// the cluster.
func (s *Stage) installChart(ctx context.Context, o Options) error {
	values := map[string]any{}
	maps.Copy(values, o.ChartValues)
	return s.helm(ctx, "install", values)
}

// openForBusiness has the chart make a MetricSource and a Gate, which a manager must judge.
func (s *Stage) openForBusiness(ctx context.Context) error {
	return s.helm(ctx, "upgrade", map[string]any{
		"metricSource": map[string]any{"create": true, "address": s.Cluster.PrometheusURL()},
		"gate": map[string]any{
			"create":     true,
			"namespaces": map[string]any{"names": []string{Namespace}},
			"writers":    []string{local.KwokUser, pods.UserName},
		},
	})
}

func (s *Stage) helm(ctx context.Context, verb string, values map[string]any) error {
	values["manager"] = map[string]any{"enabled": false}
	values["webhook"] = map[string]any{"url": s.webhookURL()}
	raw, err := yaml.Marshal(values)
	if err != nil {
		return err
	}
	helm, err := s.Cluster.BinaryPath(ctx, "helm")
	if err != nil {
		return err
	}
	_, err = s.run(ctx, Admin, string(raw), helm, verb, "tidegate", filepath.Join(s.root, "charts", "tidegate"),
		"--namespace", ManagerNamespace, "--create-namespace", "--values", "-", "--wait", "--timeout", "60s")
	return err
}

// Template returns the manifest of the shipped template web, paced for a demonstration: windows of
// seconds, and enough evidence for the local load.
func Template() (string, error) {
	files, err := TemplateFiles()
	if err != nil {
		return "", err
	}
	return documents(map[string]any{
		"apiVersion": "tidegate.io/v1alpha1", "kind": "ReleaseTemplate",
		"metadata": map[string]any{"name": "web"},
		"spec":     map[string]any{"files": files},
	})
}

// TemplateFiles returns the source of Template.
func TemplateFiles() (map[string]string, error) {
	files, err := templates.Files("web")
	if err != nil {
		return nil, err
	}
	files["platform.cue"] = platformFile
	return files, nil
}

// platformFile is the platform team's own file in the template; CUE unifies all files of one.
const platformFile = `package web

// The pace of a demonstration: seconds instead of minutes.
_platform: pace: {
	window:     "10s"
	interval:   "2s"
	hold:       "0s"
	drainDelay: "5s"
	minSamples: 80
}
`

// Release returns the manifest of a Release of the template web in Namespace, with the values that
// every team writes.
func Release(name, tag string) string {
	return fmt.Sprintf(`apiVersion: tidegate.io/v1alpha1
kind: Release
metadata:
  name: %[1]s
  namespace: %[2]s
spec:
  template:
    name: web
  values:
    image: shop/%[1]s:%[3]s
    containerPort: 8080
    replicas: 4
    resources: {cpu: 100m, memory: 64Mi}
    env: {LOG_LEVEL: info}
`, name, Namespace, tag)
}

// WaitFor calls check twice a second until it says true or fails, or the timeout is over.
func (s *Stage) WaitFor(ctx context.Context, what string, timeout time.Duration, check func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for {
		ok, err := check(ctx)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, errors.Join(ctx.Err(), err))
		case <-ticker.C:
		}
	}
}

func documents(objects ...map[string]any) (string, error) {
	var b strings.Builder
	for _, o := range objects {
		raw, err := yaml.Marshal(o)
		if err != nil {
			return "", err
		}
		b.WriteString("---\n")
		b.Write(raw)
	}
	return b.String(), nil
}

const gatewayManifest = `
apiVersion: v1
kind: Namespace
metadata: {name: gateway-system}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: traefik}
spec: {controllerName: traefik.io/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: gateway-system}
spec:
  gatewayClassName: traefik
  listeners:
  - name: http
    protocol: HTTP
    port: 80
    allowedRoutes: {namespaces: {from: All}}
`

const tenantsManifest = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: playground}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: team, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: team-shop}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: team-catalog}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tidegate-catalog-view}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: team-shop}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: team, namespace: playground}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: team-shop}]
`
