package integration

import (
	"context"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/test/cluster/local"
)

func renewNodes(ctx context.Context, c client.Client) {
	for ; ctx.Err() == nil; time.Sleep(5 * time.Second) {
		var nodes corev1.NodeList
		if c.List(ctx, &nodes) != nil {
			continue
		}
		for i := range nodes.Items {
			n := &nodes.Items[i]
			l := &coordinationv1.Lease{}
			key := client.ObjectKey{Namespace: "kube-node-lease", Name: n.Name}
			now := metav1.NowMicro()
			d := int32(40)
			err := c.Get(ctx, key, l)
			l.Spec = coordinationv1.LeaseSpec{HolderIdentity: &n.Name, LeaseDurationSeconds: &d, RenewTime: &now}
			if err != nil {
				l.Name, l.Namespace = key.Name, key.Namespace
				_ = c.Create(ctx, l)
				continue
			}
			_ = c.Update(ctx, l)
		}
	}
}

func tmpNodes(t *testing.T, cluster *local.Cluster) {
	c, err := client.New(cluster.RESTConfig(), client.Options{Scheme: testScheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	go renewNodes(t.Context(), c)
}
