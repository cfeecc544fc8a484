package main

import (
	"context"
	"errors"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authentication "k8s.io/client-go/kubernetes/typed/authentication/v1"
	"k8s.io/client-go/rest"
)

// whoAmI asks the API server under which user name this process writes. The gates let this
// very name through, so a guess would lock the manager out or let another in.
func whoAmI(ctx context.Context, config *rest.Config) (string, error) {
	client, err := authentication.NewForConfig(config)
	if err != nil {
		return "", fmt.Errorf("asking the API server who the manager is: %w", err)
	}
	review, err := client.SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("asking the API server who the manager is: %w", err)
	}
	name := review.Status.UserInfo.Username
	if name == "" || name == "system:anonymous" {
		return "", errors.New("asking the API server who the manager is: wanted a user name, found an anonymous caller; check the credentials of the kubeconfig")
	}
	return name, nil
}
