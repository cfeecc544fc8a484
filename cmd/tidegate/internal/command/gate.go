package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/webhook/gates"
)

// sealedFile and sealedConfig are what `gate seal` writes.
const (
	sealedFile   = "tidegate-guard.yaml"
	sealedConfig = "admission-config.yaml"
)

type sealOptions struct {
	*cli
	namespace string
	directory string
	mounted   string
}

func (c *cli) gate() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "gate",
		Short: "Make the gate harder to take away",
	})
	o := &sealOptions{cli: c}
	seal := &cobra.Command{
		Use:   "seal -o DIR",
		Short: "Write the guards as files that an API server reads, which nobody changes by the API",
		Long: `Writes the guards of the installed chart as static admission manifests, and the admission
configuration that names them, for clusters whose operator can mount files into the API
server (Kubernetes 1.37). With them Tidegate's admission policies are guarded too, which
no policy that comes by the API can do. See docs/sealed.md.`,
		Example: c.example("tidegate gate seal -o sealed --mounted /etc/kubernetes/tidegate"),
		Args:    none,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	seal.Flags().StringVarP(&o.directory, "output-dir", "o", "", "Directory to write to (required)")
	seal.Flags().StringVar(&o.mounted, "mounted", "/etc/kubernetes/tidegate", "Where the API server will see the directory")
	seal.Flags().StringVar(&o.namespace, "manager-namespace", "tidegate-system", "Namespace that Tidegate is installed in")
	cobra.CheckErr(seal.MarkFlagRequired("output-dir"))
	cmd.AddCommand(seal)
	return cmd
}

func (o *sealOptions) run(ctx context.Context) error {
	if !filepath.IsAbs(o.mounted) {
		return fmt.Errorf("--mounted: wanted an absolute path, found %q", o.mounted)
	}
	api, _, err := o.connect()
	if err != nil {
		return err
	}
	var standing corev1.ConfigMap
	err = api.Get(ctx, client.ObjectKey{Namespace: o.namespace, Name: gates.DefaultChart}, &standing)
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("wanted the chart installed in namespace %q, found no ConfigMap %s there; do: name its namespace with --manager-namespace", o.namespace, gates.DefaultChart)
	}
	if err != nil {
		return fmt.Errorf("reading the chart's guards: %w", err)
	}
	chart, err := gates.ChartObjects(&standing)
	if err != nil {
		return err
	}
	sealed, err := gates.Seal(chart)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, s := range sealed {
		raw, err := yaml.Marshal(s.Object)
		if err != nil {
			return err
		}
		b.WriteString("---\n")
		b.Write(raw)
	}
	manifests := filepath.Join(o.directory, "policies")
	config := filepath.Join(o.directory, sealedConfig)
	admission := fmt.Sprintf(`apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: ValidatingAdmissionPolicy
  configuration:
    apiVersion: apiserver.config.k8s.io/v1
    kind: ValidatingAdmissionPolicyConfiguration
    staticManifestsDir: %s
`, filepath.ToSlash(filepath.Join(o.mounted, "policies")))
	if err := errors.Join(onlyHolds(manifests, sealedFile), sameOrNone(config, admission)); err != nil {
		return err
	}
	if err := os.MkdirAll(manifests, 0o755); err != nil { //nolint:gosec // The API server runs as somebody else, and nothing here is secret.
		return err
	}
	for path, content := range map[string][]byte{filepath.Join(manifests, sealedFile): b.Bytes(), config: []byte(admission)} {
		if err := o.replace(path, content); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(o.Out, "Wrote %d objects to %s and %s to %s.\nStart each API server with --admission-control-config-file=%s\n",
		len(sealed), filepath.Join(manifests, sealedFile), sealedConfig, o.directory, filepath.Join(o.mounted, sealedConfig))
	return err
}

// onlyHolds says that a directory, if there is one, holds nothing but one file: an API
// server reads all that is in it, and does not start where it cannot.
func onlyHolds(directory, file string) error {
	entries, err := os.ReadDir(directory)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != file {
			return fmt.Errorf("%s: wanted nothing but %s, since an API server reads every file there, found %s; do: choose another --output-dir, or move it away", directory, file, e.Name())
		}
	}
	return nil
}

// sameOrNone says that a file is not there, or is as it would be written: a configuration
// of somebody's own has more in it.
func sameOrNone(path, content string) error {
	was, err := os.ReadFile(path) //nolint:gosec // It is where the caller wants the files.
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case string(was) != content:
		return fmt.Errorf("%s: wanted no file, or the one that was written before, found another; do: take over the entry for ValidatingAdmissionPolicy by hand, or choose another --output-dir", path)
	}
	return nil
}

// replace writes a file whole or not at all: an API server may be reading it. The file in
// between is not in the directory that it reads.
func (o *sealOptions) replace(path string, content []byte) error {
	between, err := os.CreateTemp(o.directory, ".tidegate-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(between.Name()) }() // There is none, if all went well.
	_, err = between.Write(content)
	// The API server runs as somebody else, and nothing here is secret.
	if err := errors.Join(err, between.Chmod(0o644), between.Close()); err != nil {
		return err
	}
	return os.Rename(between.Name(), path)
}
