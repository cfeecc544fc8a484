package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

func parse(t *testing.T, args ...string) *options {
	t.Helper()
	o := defaults(func(string) string { return "" })
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	o.addTo(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestTheDefaultsAreValid(t *testing.T) {
	t.Parallel()
	if err := parse(t).validate(); err != nil {
		t.Error(err)
	}
	o := defaults(func(name string) string { return map[string]string{"POD_NAMESPACE": "gate"}[name] })
	if o.namespace != "gate" {
		t.Errorf("namespace %q", o.namespace)
	}
}

func TestAWrongFlagIsNamed(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		args []string
		want string
	}{
		"a system namespace":            {[]string{"--namespace=kube-system"}, "--namespace:"},
		"no port":                       {[]string{"--webhook-port=0"}, "--webhook-port:"},
		"a URL with an IP address":      {[]string{"--webhook-url=https://127.0.0.1:9443"}, "--webhook-url:"},
		"a URL without TLS":             {[]string{"--webhook-url=http://localhost"}, "--webhook-url:"},
		"an address without a port":     {[]string{"--metrics-bind-address=localhost"}, "--metrics-bind-address:"},
		"no probes":                     {[]string{"--health-probe-bind-address=0"}, "--health-probe-bind-address:"},
		"profiles for everybody":        {[]string{"--pprof-bind-address=:6060"}, "--pprof-bind-address:"},
		"profiles on another address":   {[]string{"--pprof-bind-address=10.0.0.1:6060"}, "--pprof-bind-address:"},
		"a lease shorter than renewing": {[]string{"--leader-elect-lease-duration=5s"}, "--leader-elect-lease-duration:"},
		"a negative delay":              {[]string{"--shutdown-delay=-1s"}, "--shutdown-delay:"},
		"no render workers":             {[]string{"--render-workers=0"}, "--render-workers:"},
		"too many render workers":       {[]string{"--render-workers=65"}, "--render-workers:"},
		"memory that is none":           {[]string{"--render-memory=much"}, "--render-memory:"},
		"too little memory":             {[]string{"--render-memory=64Mi"}, "--render-memory:"},
		"no records":                    {[]string{"--record-dir=/x", "--record-max-files=0"}, "--record-max-files:"},
		"too little room for records":   {[]string{"--record-dir=/x", "--record-max-size=1Ki"}, "--record-max-size:"},
		"no time to render":             {[]string{"--render-timeout=0s"}, "--render-timeout:"},
		"more time than there is":       {[]string{"--render-timeout=4s"}, "--render-timeout:"},
		"no workers":                    {[]string{"--concurrency=0"}, "--concurrency:"},
		"an unknown level":              {[]string{"--log-level=loud"}, "--log-level:"},
		"an unknown format":             {[]string{"--log-format=xml"}, "--log-format:"},
		"the second of two wrong flags": {[]string{"--concurrency=0", "--log-format=xml"}, "--log-format:"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := parse(t, tc.args...).validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, wanted one with %q", err, tc.want)
			}
		})
	}
	for _, ok := range [][]string{{"--pprof-bind-address=127.0.0.1:6060"}, {"--pprof-bind-address=localhost:6060"}, {"--metrics-bind-address=0"}, {"--webhook-url=https://localhost:9443"}} {
		if err := parse(t, ok...).validate(); err != nil {
			t.Errorf("%v: %v", ok, err)
		}
	}
}

func TestMetricsAreOpenToThisMachineAlone(t *testing.T) {
	t.Parallel()
	for addr, secure := range map[string]bool{":8443": true, "0.0.0.0:8443": true, "10.0.0.1:8443": true, "127.0.0.1:8080": false, "[::1]:8080": false, "0": false} {
		got := metricsOptions(&options{metricsAddr: addr})
		if got.SecureServing != secure || (got.FilterProvider != nil) != secure {
			t.Errorf("%s: secure %v, asks who it is %v; wanted both %v", addr, got.SecureServing, got.FilterProvider != nil, secure)
		}
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	cmd := command()
	cmd.SetArgs([]string{"--no-such-flag"})
	unknown := cmd.ExecuteContext(t.Context())
	cmd = command()
	cmd.SetArgs([]string{"--log-level=loud"})
	wrong := cmd.ExecuteContext(t.Context())
	cmd = command()
	cmd.SetErr(new(bytes.Buffer))
	cmd.SetArgs([]string{"--kubeconfig=/does/not/exist"})
	failed := cmd.ExecuteContext(t.Context())
	for what, tc := range map[string]struct {
		err  error
		want int
	}{
		"stopped":         {nil, exitOK},
		"an unknown flag": {unknown, exitUsage},
		"a wrong value":   {wrong, exitUsage},
		"no cluster":      {failed, exitFailed},
		"another failure": {errors.New("lost the lease"), exitFailed},
	} {
		if got := exitCode(tc.err); got != tc.want {
			t.Errorf("%s: exit code %d, wanted %d (%v)", what, got, tc.want, tc.err)
		}
	}
}

func TestEverythingLogsInOneFormat(t *testing.T) { //nolint:paralleltest // the loggers are global
	var out bytes.Buffer
	o := parse(t, "--log-level=info")
	log, err := setLogger(o, &out)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = setLogger(o, os.Stderr) }()
	log.Info("ours", "key", "value")
	log.V(1).Info("not shown")
	ctrl.Log.WithName("x").Info("controller-runtime's")
	klog.InfoS("client-go's")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines:\n%s", len(lines), out.String())
	}
	for _, line := range lines {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil || record["msg"] == nil || record["level"] != "INFO" {
			t.Errorf("%v: %s", err, line)
		}
	}
}
