package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"

	"tidegate.io/tidegate/test/cluster/binaries"
	"tidegate.io/tidegate/test/cluster/home"
)

// Kubectl runs kubectl as the administrator, unless args name another kubeconfig, and returns what
// it wrote to stdout. The error holds what it wrote to stderr.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.KubectlInput(ctx, nil, args...)
}

// KubectlInput is Kubectl with something on stdin, for `-f -`.
func (c *Cluster) KubectlInput(ctx context.Context, in io.Reader, args ...string) (string, error) {
	cmd, err := KubectlCommand(ctx, c.State(), c.opts.Log, args...)
	if err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("running kubectl %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}

// KubectlCommand returns the command that runs kubectl against a cluster, building it first if need
// be. What kubectl caches it keeps in the cluster's directory.
func KubectlCommand(ctx context.Context, s home.State, progress io.Writer, args ...string) (*exec.Cmd, error) {
	paths, err := binaries.Build(ctx, progress, "kubectl")
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, paths["kubectl"], args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+s.Kubeconfig, "KUBECACHEDIR="+filepath.Join(s.Dir, "tmp", "kubectl"))
	cmd.WaitDelay = time.Second
	return cmd, nil
}

// InstallGatewayAPI installs the CRDs of the Gateway API's standard channel, of the version that
// Tidegate's go.mod pins, and waits until they are served.
func (c *Cluster) InstallGatewayAPI(ctx context.Context) error {
	dir, err := moduleDir(ctx, "sigs.k8s.io/gateway-api")
	if err != nil {
		return err
	}
	return c.InstallCRDs(ctx, filepath.Join(dir, "config", "crd", "standard"))
}

// InstallOpenReports installs the CRDs of OpenReports, of the version that Tidegate's go.mod pins,
// and waits until they are served.
func (c *Cluster) InstallOpenReports(ctx context.Context) error {
	dir, err := moduleDir(ctx, "github.com/openreports/reports-api")
	if err != nil {
		return err
	}
	return c.InstallCRDs(ctx, filepath.Join(dir, "config", "crd"))
}

// InstallIstio installs the CRDs of Istio's VirtualService and DestinationRule, of the version that
// Tidegate's go.mod pins, and waits until they are served. There is no more of Istio.
func (c *Cluster) InstallIstio(ctx context.Context) error {
	dir, err := moduleDir(ctx, "istio.io/api")
	if err != nil {
		return err
	}
	crds, err := readCRDs(filepath.Join(dir, "kubernetes"))
	if err != nil {
		return err
	}
	return c.install(ctx, slices.DeleteFunc(crds, func(crd *unstructured.Unstructured) bool {
		return crd.GetName() != "virtualservices.networking.istio.io" && crd.GetName() != "destinationrules.networking.istio.io"
	}))
}

// InstallCRDs applies all CustomResourceDefinitions in the YAML files of a directory, passes over
// other kinds, and waits until each is established.
func (c *Cluster) InstallCRDs(ctx context.Context, dir string) error {
	crds, err := readCRDs(dir)
	if err != nil {
		return err
	}
	return c.install(ctx, crds)
}

func (c *Cluster) install(ctx context.Context, crds []*unstructured.Unstructured) error {
	client, err := dynamic.NewForConfig(c.RESTConfig())
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	api := client.Resource(apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions"))
	for _, crd := range crds {
		if _, err := api.Apply(ctx, crd.GetName(), crd, metav1.ApplyOptions{FieldManager: "tidegate-test", Force: true}); err != nil {
			return fmt.Errorf("applying CRD %s: %w", crd.GetName(), err)
		}
	}
	for _, crd := range crds {
		err := await(ctx, poll, func(ctx context.Context) (bool, error) {
			u, err := api.Get(ctx, crd.GetName(), metav1.GetOptions{})
			if err != nil {
				return false, err
			}
			return established(u)
		})
		if err != nil {
			return fmt.Errorf("waiting until CRD %s is established: %w", crd.GetName(), err)
		}
	}
	return nil
}

// established reports whether a CRD is served. Names that another CRD has already are an error:
// waiting would not help.
func established(u *unstructured.Unstructured) (bool, error) {
	var crd apiextensionsv1.CustomResourceDefinition
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &crd); err != nil {
		return false, err
	}
	for _, c := range crd.Status.Conditions {
		switch {
		case c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue:
			return true, nil
		case c.Type == apiextensionsv1.NamesAccepted && c.Status == apiextensionsv1.ConditionFalse:
			return false, fmt.Errorf("names not accepted: %s", c.Message)
		}
	}
	return false, nil
}

func readCRDs(dir string) ([]*unstructured.Unstructured, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("listing the CRDs of %s: %w", dir, err)
	}
	var crds []*unstructured.Unstructured
	for _, path := range files {
		found, err := readCRDFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading CRDs from %s: %w", path, err)
		}
		crds = append(crds, found...)
	}
	if len(crds) == 0 {
		return nil, fmt.Errorf("no CRD in %s: want a directory with *.yaml files of kind CustomResourceDefinition", dir)
	}
	return crds, nil
}

func readCRDFile(path string) ([]*unstructured.Unstructured, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	var crds []*unstructured.Unstructured
	for d := yaml.NewYAMLOrJSONDecoder(f, 4096); ; {
		u := new(unstructured.Unstructured)
		if err := d.Decode(&u.Object); errors.Is(err, io.EOF) {
			return crds, nil
		} else if err != nil {
			return nil, err
		}
		if u.GetKind() == "CustomResourceDefinition" {
			delete(u.Object, "status") // generators leave an empty one, which is not ours to write
			crds = append(crds, u)
		}
	}
}

// moduleDir returns where the source of a module is that Tidegate's go.mod requires.
func moduleDir(ctx context.Context, module string) (string, error) {
	root, err := binaries.Root()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	cmd.Dir = root
	out, err := cmd.Output()
	var m struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &m); jsonErr == nil && m.Dir != "" {
		return m.Dir, nil
	}
	return "", fmt.Errorf("finding the source of module %s: want it in %s/go.mod: %w %s", module, root,
		errors.Join(err, errors.New("no directory")), m.Error)
}
