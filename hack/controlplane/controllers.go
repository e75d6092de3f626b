//go:build ignore

// Controllers runs Kubernetes' own garbage collector and controllers of namespaces and StatefulSets, as
// kube-controller-manager does: that program whole takes minutes to compile, and Slipway's objects meet these three.
// There is no kubelet, so Pods come and never run.
//
// It is ignored by go mod tidy, as its packages are those of kube-apiserver and a few more of the same module.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/controller-manager/pkg/informerfactory"
	"k8s.io/kubernetes/pkg/controller/garbagecollector"
	"k8s.io/kubernetes/pkg/controller/namespace"
	"k8s.io/kubernetes/pkg/controller/statefulset"
)

// workers is of each controller, and period what kube-controller-manager has for discovery and for namespaces.
const (
	workers          = 5
	discoveryPeriod  = 30 * time.Second
	namespacesPeriod = 5 * time.Minute
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "the file that says where the API server is, and who asks")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kubeconfig); err != nil {
		fmt.Fprintln(os.Stderr, "controllers:", err)
		os.Exit(1)
	}
}

// run runs the controllers until the context is done.
func run(ctx context.Context, kubeconfig string) error {
	if kubeconfig == "" {
		return errors.New("--kubeconfig is missing")
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS = -1 // tests wait for what it does
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	objects, err := metadata.NewForConfig(config)
	if err != nil {
		return err
	}
	typed := informers.NewSharedInformerFactory(client, 0)
	partial := metadatainformer.NewSharedInformerFactory(objects, 0)
	started := make(chan struct{})

	loops, err := collector(ctx, config, client, objects, informerfactory.NewInformerFactory(typed, partial), started)
	if err != nil {
		return err
	}
	namespaces := namespace.NewNamespaceController(
		ctx, client, objects, client.Discovery().ServerPreferredNamespacedResources,
		typed.Core().V1().Namespaces(), namespacesPeriod, corev1.FinalizerKubernetes,
	)
	sets := statefulset.NewStatefulSetController(ctx, typed.Core().V1().Pods(), typed.Apps().V1().StatefulSets(),
		typed.Core().V1().PersistentVolumeClaims(), typed.Apps().V1().ControllerRevisions(), client)
	loops = append(loops,
		func() { namespaces.Run(ctx, workers) },
		func() { sets.Run(ctx, workers) },
	)

	typed.Start(ctx.Done())
	partial.Start(ctx.Done())
	close(started)
	var running sync.WaitGroup
	for _, loop := range loops {
		running.Go(loop)
	}
	running.Wait()
	return nil
}

// collector returns the loops of the garbage collector.
func collector(
	ctx context.Context, config *rest.Config, client kubernetes.Interface, objects metadata.Interface,
	all informerfactory.InformerFactory, started <-chan struct{},
) ([]func(), error) {
	resources, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(resources))
	ignored := garbagecollector.DefaultIgnoredResources()
	gc, err := garbagecollector.NewGarbageCollector(ctx, client, objects, mapper, ignored, all, started)
	if err != nil {
		return nil, err
	}
	return []func(){
		func() { gc.Run(ctx, workers, discoveryPeriod) },
		func() { gc.Sync(ctx, resources, discoveryPeriod) },
	}, nil
}
