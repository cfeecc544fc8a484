package command

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/cmd/internal/version"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	// versionLimit is how long a cluster may take to answer.
	versionLimit = 5 * time.Second
	// managerDeployment is the name of the manager's Deployment in the chart.
	managerDeployment = "tidegate-manager"
	// versionLabel is the standard label of what was installed.
	versionLabel = "app.kubernetes.io/version"
)

// versions is what `version -o json` prints.
type versions struct {
	Client  version.Info    `json:"client"`
	Cluster *clusterVersion `json:"cluster,omitempty"`
}

type clusterVersion struct {
	Kubernetes string `json:"kubernetes"`
	// API lists the versions of the API group that the cluster serves; none where
	// Tidegate is not installed.
	API []string `json:"api"`
	// Manager is the version of the manager's Deployment; empty where there is none.
	Manager string `json:"manager,omitempty"`
}

type versionOptions struct {
	*cli
	clientOnly bool
	namespace  string
	output     string
}

func (c *cli) version() *cobra.Command {
	o := &versionOptions{cli: c}
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the versions of this program and of what is installed",
		Long: `Show the versions of this program and, where a cluster can be reached, of Kubernetes,
of Tidegate's API and of the manager. A cluster that does not answer is no error.`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(o.output); err != nil {
				return err
			}
			return o.run(cmd.Context())
		},
	}
	cmd.Flags().BoolVar(&o.clientOnly, "client", false, "Ask no cluster")
	cmd.Flags().StringVar(&o.namespace, "manager-namespace", "tidegate-system", "Namespace that Tidegate is installed in")
	outputFlag(cmd, &o.output)
	return cmd
}

func (o *versionOptions) run(ctx context.Context) error {
	all := versions{Client: version.Get()}
	if !o.clientOnly {
		cluster, err := o.cluster(ctx)
		if err != nil {
			o.say("The cluster was not reached: %v", err)
		}
		all.Cluster = cluster
	}
	if o.output != "" {
		return writeDocument(o.cli, all, o.output)
	}
	lines := []string{"client: " + all.Client.Version}
	if k := all.Cluster; k != nil {
		api := "not installed"
		if len(k.API) > 0 {
			api = v1alpha1.GroupVersion.Group + " " + fmt.Sprint(k.API)
		}
		lines = append(lines, "manager: "+orElse(k.Manager, "no Deployment "+managerDeployment+" in "+o.namespace), "api: "+api, "kubernetes: "+k.Kubernetes)
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(o.Out, line); err != nil {
			return fmt.Errorf("writing: %w", err)
		}
	}
	return nil
}

func (o *versionOptions) cluster(ctx context.Context) (*clusterVersion, error) {
	d, err := o.Discovery(o.flags)
	if err != nil {
		return nil, err
	}
	kubernetes, err := d.ServerVersion()
	if err != nil {
		return nil, fmt.Errorf("asking for the version of Kubernetes: %w", err)
	}
	found := &clusterVersion{Kubernetes: kubernetes.GitVersion, API: []string{}}
	groups, err := d.ServerGroups()
	if err != nil {
		return found, fmt.Errorf("asking for the API groups: %w", err)
	}
	for _, g := range groups.Groups {
		if g.Name != v1alpha1.GroupVersion.Group {
			continue
		}
		for _, v := range g.Versions {
			found.API = append(found.API, v.Version)
		}
	}
	found.Manager, err = o.manager(ctx)
	return found, err
}

// manager returns the version of the manager's Deployment, or "" where there is none or
// the user may not see it.
func (o *versionOptions) manager(ctx context.Context) (string, error) {
	api, err := o.Client(o.flags, o.scheme)
	if err != nil {
		return "", fmt.Errorf("connecting to the cluster: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, versionLimit)
	defer cancel()
	var d appsv1.Deployment
	err = api.Get(ctx, client.ObjectKey{Namespace: o.namespace, Name: managerDeployment}, &d)
	switch {
	case apierrors.IsNotFound(err):
		return "", nil
	case apierrors.IsForbidden(err):
		o.say("The manager's version cannot be shown: you may not read Deployments in namespace %s.", o.namespace)
		return "", nil
	case err != nil:
		return "", fmt.Errorf("reading Deployment %s/%s: %w", o.namespace, managerDeployment, err)
	}
	return d.Labels[versionLabel], nil
}

// Discover makes a discovery client of the flags that does not wait long.
func Discover(getter genericclioptions.RESTClientGetter) (Discovery, error) {
	config, err := getter.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.Timeout = versionLimit
	return discovery.NewDiscoveryClientForConfig(config)
}
