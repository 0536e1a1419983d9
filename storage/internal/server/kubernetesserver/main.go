// Kubernetesserver is an API server of Kubernetes that has Secrets and nothing else, in one process with its etcd: the
// generic server with its cache, the rules for Secrets and the authorizer by roles are those of Kubernetes. There are no
// namespaces to make, and there is no admission.
//
// Run it in its folder, which is a module of its own because its dependencies must not decide those of others:
//
//	go tool kubernetesserver -folder /tmp/kubernetes -certificate a.pem -key a.key -tokens tokens.csv -roles roles.yaml
//
// A user in the group system:masters may do everything, any other what the roles allow. SIGUSR1 compacts etcd, as a
// server does every five minutes.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	restclient "k8s.io/client-go/rest"
	"k8s.io/component-base/compatibility"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
)

// settings are what the flags say.
type settings struct {
	port             string
	folder           string
	certificate, key string
	access
}

func main() {
	var s settings
	flag.StringVar(&s.port, "port", "6443", "of 127.0.0.1, where the server listens")
	flag.StringVar(&s.folder, "folder", "", "where the data is")
	flag.StringVar(&s.certificate, "certificate", "", "file of the server's certificate")
	flag.StringVar(&s.key, "key", "", "file of the certificate's key")
	flag.StringVar(&s.tokens, "tokens", "", "file of users, a line each: token,user,uid,\"group,group\"")
	flag.StringVar(&s.clients, "clients", "", "file of the CA whose certificates clients may show")
	flag.StringVar(&s.roles, "roles", "", "file of Roles and RoleBindings in YAML")
	flag.Parse()
	if err := run(s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(s settings) error {
	if s.folder == "" {
		return errors.New("-folder is missing")
	}
	ctx := genericapiserver.SetupSignalContext()
	address, stop, err := startEtcd(ctx, s.folder)
	if err != nil {
		return err
	}
	defer stop()
	config, err := s.config()
	if err != nil {
		return err
	}
	server, err := config.Complete().New("secrets", genericapiserver.NewEmptyDelegate())
	if err != nil {
		return err
	}
	secrets, err := newSecrets(address)
	if err != nil {
		return err
	}
	group := genericapiserver.NewDefaultAPIGroupInfo("", legacyscheme.Scheme, legacyscheme.ParameterCodec, legacyscheme.Codecs)
	group.PrioritizedVersions = []schema.GroupVersion{corev1.SchemeGroupVersion}
	group.VersionedResourcesStorageMap["v1"] = map[string]rest.Storage{"secrets": secrets}
	if err := server.InstallLegacyAPIGroup("/api", &group); err != nil {
		return err
	}
	return server.PrepareRun().RunWithContext(ctx)
}

func (s settings) config() (*genericapiserver.RecommendedConfig, error) {
	config := genericapiserver.NewRecommendedConfig(legacyscheme.Codecs)
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", s.port))
	if err != nil {
		return nil, err
	}
	certificate, err := dynamiccertificates.NewDynamicServingContentFromFiles("server", s.certificate, s.key)
	if err != nil {
		return nil, err
	}
	config.SecureServing = &genericapiserver.SecureServingInfo{Listener: listener, Cert: certificate}
	config.LoopbackClientConfig = new(restclient.Config)
	config.ExternalAddress = listener.Addr().String()
	config.EffectiveVersion = compatibility.NewEffectiveVersionFromString("1.37", "", "")
	config.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(definitions, openapinamer.NewDefinitionNamer(legacyscheme.Scheme))
	config.SkipOpenAPIInstallation = true
	return config, s.apply(config)
}
