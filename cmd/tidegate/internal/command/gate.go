package command

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
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
	if err := api.Get(ctx, client.ObjectKey{Namespace: o.namespace, Name: gates.DefaultChart}, &standing); err != nil {
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
	// The directory of the manifests holds nothing else.
	manifests := filepath.Join(o.directory, "policies")
	if err := os.MkdirAll(manifests, 0o755); err != nil { //nolint:gosec // The API server runs as somebody else, and nothing here is secret.
		return err
	}
	config := fmt.Sprintf(`apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: ValidatingAdmissionPolicy
  configuration:
    apiVersion: apiserver.config.k8s.io/v1
    kind: ValidatingAdmissionPolicyConfiguration
    staticManifestsDir: %s
`, filepath.ToSlash(filepath.Join(o.mounted, "policies")))
	for path, content := range map[string][]byte{
		filepath.Join(manifests, sealedFile):     b.Bytes(),
		filepath.Join(o.directory, sealedConfig): []byte(config),
	} {
		if err := os.WriteFile(path, content, 0o644); err != nil { //nolint:gosec // As above.
			return err
		}
	}
	_, err = fmt.Fprintf(o.Out, "Wrote %d objects to %s and %s to %s.\nStart each API server with --admission-control-config-file=%s\n",
		len(sealed), filepath.Join(manifests, sealedFile), sealedConfig, o.directory, filepath.Join(o.mounted, sealedConfig))
	return err
}
