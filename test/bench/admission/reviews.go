package main

import (
	"encoding/json"
	"fmt"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The people of the bench.
const (
	// identity is the manager's own user.
	identity = "system:serviceaccount:tidegate-system:tidegate-manager"
	// writer is listed in the Gate, so that policies are asked about what it writes.
	writer    = "system:serviceaccount:shop:deployer"
	namespace = "shop"
)

// shape says where the bytes of a large object are.
type shape int

const (
	// ordinary objects have two containers, and what is missing in size is in the values of
	// environment variables, as it is in the large objects that people have.
	ordinary shape = iota
	// wide objects have as many containers as it takes: nothing is worse to judge.
	wide
)

// container has what the API server makes of a container, all defaults included.
const container = `{"name":"c%[1]d","image":"ghcr.io/shop/cart:1.2.%[1]d@sha256:0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9",` +
	`"ports":[{"name":"http","containerPort":8080,"protocol":"TCP"}],"env":[{"name":"LOG","value":"info"}%[2]s],` +
	`"resources":{"limits":{"cpu":"500m","memory":"256Mi"},"requests":{"cpu":"100m","memory":"256Mi"}},` +
	`"livenessProbe":{"httpGet":{"path":"/live","port":"http","scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},` +
	`"readinessProbe":{"httpGet":{"path":"/ready","port":"http","scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":5,"successThreshold":1,"failureThreshold":3},` +
	`"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent",` +
	`"securityContext":{"capabilities":{"drop":["ALL"]},"privileged":false,"runAsNonRoot":true,"readOnlyRootFilesystem":true,"allowPrivilegeEscalation":false}}`

// podSpec is a spec of about so many bytes.
func podSpec(size int, s shape) string {
	var list []string
	count, filler := 1, ""
	if size > 4<<10 {
		count = 2
	}
	switch s {
	case wide:
		count = max(1, size/len(container))
	case ordinary:
		var b strings.Builder
		for i := 0; count*b.Len() < size-count*len(container)-600; i++ {
			fmt.Fprintf(&b, `,{"name":"SETTING_%d","value":"a value of some length, as found in the settings of services, %d"}`, i, i*7)
		}
		filler = b.String()
	}
	for i := range count {
		list = append(list, fmt.Sprintf(container, i, filler))
	}
	return `{"volumes":[{"name":"tmp","emptyDir":{}}],"containers":[` + strings.Join(list, ",") + `],"restartPolicy":"Always","terminationGracePeriodSeconds":30,` +
		`"dnsPolicy":"ClusterFirst","serviceAccountName":"cart","serviceAccount":"cart","automountServiceAccountToken":false,` +
		`"securityContext":{"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}},"schedulerName":"default-scheduler","enableServiceLinks":false}`
}

// metadata is that of an object that the API server has seen.
const metadata = `"metadata":{"name":"%s","namespace":"shop","uid":"5b1e8a1c-33c1-4b6e-8e5a-0d6f4a1d2f3b","generation":1,"creationTimestamp":"2026-01-05T10:11:12Z",` +
	`"labels":{"app.kubernetes.io/name":"cart","app.kubernetes.io/managed-by":"%s","tidegate.io/release":"cart","owner":"team.shop","team":"shop"},` +
	`"annotations":{"deployment.kubernetes.io/revision":"1"}}`

// object is one of a kind, of about so many bytes.
func object(kind string, replicas, size int, s shape) json.RawMessage {
	meta := fmt.Sprintf(metadata, "cart-0a1b2c3d4e", "tidegate")
	spec := podSpec(size-500, s)
	var text string
	switch kind {
	case "Pod":
		text = fmt.Sprintf(`{"kind":"Pod","apiVersion":"v1",%s,"spec":%s,"status":{"phase":"Pending","qosClass":"Burstable"}}`, meta, spec)
	case "StatefulSet", "Deployment":
		text = fmt.Sprintf(`{"kind":"%s","apiVersion":"apps/v1",%s,"spec":{"replicas":%d,"selector":{"matchLabels":{"app.kubernetes.io/name":"cart"}},`+
			`"template":{"metadata":{"creationTimestamp":null,"labels":{"app.kubernetes.io/name":"cart","team":"shop"}},"spec":%s},"revisionHistoryLimit":10,"progressDeadlineSeconds":600},"status":{}}`,
			kind, meta, replicas, spec)
	}
	return json.RawMessage(text)
}

// request is who writes what.
type request struct {
	user, kind string
	operation  admissionv1.Operation
	size       int
	shape      shape
}

// review is the request as an API server sends it.
func (q request) review() ([]byte, error) {
	gvk := metav1.GroupVersionKind{Group: "apps", Version: "v1", Kind: q.kind}
	gvr := metav1.GroupVersionResource{Group: "apps", Version: "v1", Resource: strings.ToLower(q.kind) + "s"}
	if q.kind == "Pod" {
		gvk.Group, gvr.Group = "", ""
	}
	dry := false
	r := &admissionv1.AdmissionRequest{
		UID: "705ab4f5-6393-11e8-b7cc-42010a800002", Kind: gvk, Resource: gvr, RequestKind: &gvk, RequestResource: &gvr,
		Name: "cart-0a1b2c3d4e", Namespace: namespace, Operation: q.operation, DryRun: &dry,
		UserInfo: authenticationv1.UserInfo{Username: q.user, UID: "e5c0c0f0-7b8a-4a3e-9a55-1c8c8d7e9f01", Groups: []string{"system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"}},
	}
	r.Object.Raw = object(q.kind, 3, q.size, q.shape)
	options := `{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1","fieldManager":"tidegate"}`
	if q.operation == admissionv1.Update {
		r.OldObject.Raw = object(q.kind, 2, q.size, q.shape)
		options = strings.Replace(options, "Create", "Update", 1)
	}
	r.Options.Raw = []byte(options)
	raw, err := json.Marshal(admissionv1.AdmissionReview{TypeMeta: metav1.TypeMeta{Kind: "AdmissionReview", APIVersion: "admission.k8s.io/v1"}, Request: r})
	if err != nil {
		return nil, fmt.Errorf("writing a review: %w", err)
	}
	return raw, nil
}
