package main

import (
	"fmt"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	engine "tidegate.io/tidegate/policies/eval/gatekeeper"
	"tidegate.io/tidegate/webhook/gatekeeper"
)

// gatekeeperConfiguration is the chart's webhook for Gatekeeper's constraints.
const gatekeeperConfiguration = "tidegate-gatekeeper"

// webhookConfigurations are those whose caBundle is kept.
func (o *options) webhookConfigurations() []string {
	if o.gatekeeper {
		return []string{webhookConfiguration, gatekeeperConfiguration}
	}
	return []string{webhookConfiguration}
}

// addGatekeeper adds what judges by Gatekeeper's constraints.
func addGatekeeper(mgr manager.Manager, replica string) (*gatekeeper.Loader, error) {
	store := engine.NewStore()
	loader, err := gatekeeper.Setup(mgr, gatekeeper.SyncOptions{Store: store, Replica: replica})
	if err != nil {
		return nil, fmt.Errorf("adding Gatekeeper's constraints: %w", err)
	}
	handler, err := gatekeeper.New(gatekeeper.Options{Store: store, Reader: mgr.GetClient(), Clock: clock.RealClock{}})
	if err != nil {
		return nil, err
	}
	mgr.GetWebhookServer().Register(engine.WebhookPath, handler.HTTP())
	return loader, nil
}
