package main

import (
	"fmt"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	engine "tidegate.io/tidegate/policies/eval/gatekeeper"
	"tidegate.io/tidegate/webhook/gatekeeper"
	"tidegate.io/tidegate/webhook/record"
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

// addGatekeeper adds what judges by Gatekeeper's constraints, and returns what has them.
func addGatekeeper(mgr manager.Manager, namespace, prefer string, others *replicas, recorder *record.Recorder) (*gatekeeper.Loader, *engine.Store, error) {
	compiler, err := engine.Preferring(prefer)
	if err != nil {
		return nil, nil, fmt.Errorf("adding Gatekeeper's constraints: %w", err)
	}
	store := compiler.NewStore()
	loader, err := gatekeeper.Setup(mgr, gatekeeper.SyncOptions{Store: store, Replica: others.name, Replicas: others.All, Namespace: namespace})
	if err != nil {
		return nil, nil, fmt.Errorf("adding Gatekeeper's constraints: %w", err)
	}
	handler, err := gatekeeper.New(gatekeeper.Options{Store: store, Reader: recorder.Reader(mgr.GetClient()), Clock: clock.RealClock{}})
	if err != nil {
		return nil, nil, err
	}
	recorder.Constrain(store)
	recorder.Server(mgr.GetWebhookServer()).Register(engine.WebhookPath, handler.HTTP())
	return loader, store, nil
}
