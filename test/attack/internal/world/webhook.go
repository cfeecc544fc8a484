package world

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/test/attack/internal/attempt"
)

// webhookClient posts reviews to the webhook, as somebody would who can reach its port.
type webhookClient struct {
	url    string
	client *http.Client
}

// secretName holds the authority of the webhook's certificate.
const secretName = "tidegate-webhook-cert"

func (w *World) trustWebhook(ctx context.Context) error {
	roots := x509.NewCertPool()
	err := w.until(ctx, "the authority of the webhook", upTimeout, func(ctx context.Context) (bool, string, error) {
		secret, err := w.get(ctx, "v1", "secrets", System, secretName)
		if err != nil {
			return false, "", err
		}
		encoded, _, err := unstructured.NestedString(secret.Object, "data", "ca.crt")
		if err != nil {
			return false, "", err
		}
		pem, err := base64.StdEncoding.DecodeString(encoded)
		return roots.AppendCertsFromPEM(pem), "no certificate", err
	})
	if err != nil {
		return err
	}
	w.webhook = &webhookClient{url: w.stage.WebhookURL(), client: &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 64,
	}}}
	return nil
}

// WebhookURL is where the webhook listens, without a path.
func (w *World) WebhookURL() string { return w.webhook.url }

// Post sends a request to the webhook.
func (w *World) Post(ctx context.Context, r *attempt.Review, body io.Reader, length int64) (status int, answer []byte, err error) {
	method := r.Method
	if method == "" {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, w.webhook.url+r.Path, body)
	if err != nil {
		return 0, nil, err
	}
	req.ContentLength = length
	req.Header.Set("Content-Type", "application/json")
	if r.ContentType != "" {
		req.Header.Set("Content-Type", r.ContentType)
	}
	for k, v := range r.Headers {
		req.Header.Set(k, v)
	}
	res, err := w.webhook.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	answer, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	return res.StatusCode, answer, errors.Join(err, res.Body.Close())
}

// Metric is the sum of all series of a metric of the manager that have the labels. A metric
// that is not there is 0.
func (w *World) Metric(ctx context.Context, name string, labels map[string]string) (float64, error) {
	m := w.stage.Manager()
	if m == nil {
		return 0, errors.New("wanted the manager's metrics, found that it does not run")
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.MetricsURL, http.NoBody)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("reading the manager's metrics: %w", err)
	}
	raw, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return 0, fmt.Errorf("reading the manager's metrics: %w", err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(raw)))
	if err != nil {
		return 0, fmt.Errorf("reading the manager's metrics: %w", err)
	}
	sum := 0.0
	for _, series := range families[name].GetMetric() {
		have := map[string]string{}
		for _, l := range series.GetLabel() {
			have[l.GetName()] = l.GetValue()
		}
		if !contains(have, labels) {
			continue
		}
		sum += series.GetCounter().GetValue() + series.GetGauge().GetValue() + float64(series.GetHistogram().GetSampleCount())
	}
	return sum, nil
}

func contains(have, wanted map[string]string) bool {
	for k, v := range wanted {
		if have[k] != v {
			return false
		}
	}
	return true
}
