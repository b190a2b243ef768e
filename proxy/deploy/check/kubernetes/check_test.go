// Package kubernetes has tests only: what a cluster would say of the manifests. It is a
// module of its own, so that the validators are no dependency of the program.
package kubernetes

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/kubectl-validate/pkg/openapiclient"
	"sigs.k8s.io/kubectl-validate/pkg/validator"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// release is the version whose schemas and rules hold: the oldest with the sleep of preStop.
const release = "1.30"

// rendered gives each object that kubectl apply -k would send.
func rendered(t *testing.T) map[string][]byte {
	t.Helper()
	objects, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "../../kubernetes")
	require.NoError(t, err)
	all := map[string][]byte{}
	for _, object := range objects.Resources() {
		text, err := object.AsYAML()
		require.NoError(t, err)
		all[object.GetKind()] = text
	}
	require.Len(t, all, 6, "one object of each kind")
	return all
}

func decode[T any](t *testing.T, text []byte) *T {
	t.Helper()
	require.NotEmpty(t, text)
	object := new(T)
	require.NoError(t, yaml.UnmarshalStrict(text, object))
	return object
}

func TestEachObjectFitsItsSchema(t *testing.T) {
	schemas, err := validator.New(openapiclient.NewHardcodedBuiltins(release))
	require.NoError(t, err)
	for kind, text := range rendered(t) {
		t.Run(kind, func(t *testing.T) {
			_, object, err := schemas.Parse(text)
			require.NoError(t, err)
			assert.NoError(t, schemas.Validate(object))
		})
	}
	t.Run("and it would be seen if not", func(t *testing.T) {
		for _, change := range [][2]string{{"containerPort: 8025", "containerPort: many"}, {"readinessProbe:", "readyProbe:"}} {
			text := bytes.Replace(rendered(t)["Deployment"], []byte(change[0]), []byte(change[1]), 1)
			_, object, err := schemas.Parse(text)
			if err == nil {
				err = schemas.Validate(object)
			}
			assert.Error(t, err, change[1])
		}
	})
}

func TestPodsAreRestricted(t *testing.T) {
	namespace := decode[corev1.Namespace](t, rendered(t)["Namespace"])
	require.Equal(t, string(api.LevelRestricted), namespace.Labels[api.EnforceLevelLabel])
	pod := decode[appsv1.Deployment](t, rendered(t)["Deployment"]).Spec.Template
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks())
	require.NoError(t, err)
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for _, result := range evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec) {
		assert.True(t, result.Allowed, "%s: %s", result.ForbiddenReason, result.ForbiddenDetail)
	}
	pod.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil
	assert.False(t, policy.AggregateCheckResults(evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec)).Allowed, "a pod that is not restricted is seen")
}

func TestObjectsFitEachOther(t *testing.T) {
	objects := rendered(t)
	deployment := decode[appsv1.Deployment](t, objects["Deployment"])
	service := decode[corev1.Service](t, objects["Service"])
	budget := decode[policyv1.PodDisruptionBudget](t, objects["PodDisruptionBudget"])
	network := decode[networkingv1.NetworkPolicy](t, objects["NetworkPolicy"])
	settings := decode[corev1.ConfigMap](t, objects["ConfigMap"])
	namespace := decode[corev1.Namespace](t, objects["Namespace"])
	pod := deployment.Spec.Template

	for name, selector := range map[string]map[string]string{
		"Deployment": deployment.Spec.Selector.MatchLabels, "Service": service.Spec.Selector,
		"PodDisruptionBudget": budget.Spec.Selector.MatchLabels, "NetworkPolicy": network.Spec.PodSelector.MatchLabels,
		"spread": pod.Spec.TopologySpreadConstraints[0].LabelSelector.MatchLabels,
	} {
		require.NotEmpty(t, selector, name)
		assert.True(t, labels.SelectorFromSet(selector).Matches(labels.Set(pod.Labels)), name)
	}
	for _, in := range []string{deployment.Namespace, service.Namespace, budget.Namespace, network.Namespace, settings.Namespace} {
		assert.Equal(t, namespace.Name, in)
	}
	assert.EqualValues(t, 2, *deployment.Spec.Replicas)
	assert.Less(t, budget.Spec.MinAvailable.IntVal, *deployment.Spec.Replicas, "a node can be emptied")

	ports := map[string]int32{}
	container := pod.Spec.Containers[0]
	for _, port := range container.Ports {
		ports[port.Name] = port.ContainerPort
	}
	for _, port := range []string{
		service.Spec.Ports[0].TargetPort.StrVal, container.StartupProbe.HTTPGet.Port.StrVal, container.LivenessProbe.HTTPGet.Port.StrVal,
		container.ReadinessProbe.HTTPGet.Port.StrVal, network.Spec.Ingress[0].Ports[0].Port.StrVal, network.Spec.Ingress[1].Ports[0].Port.StrVal,
	} {
		assert.Contains(t, ports, port)
	}
	mounted := pod.Spec.Volumes[0].ConfigMap.Name
	assert.Equal(t, settings.Name, mounted)
	assert.Regexp(t, `^smtpscope-[a-z0-9]{10}$`, mounted, "a change of the settings changes the pods")
	assert.Contains(t, settings.Data["smtpscope.conf"], "listen = :8025\n")
	assert.Contains(t, settings.Data["smtpscope.conf"], "metrics = :9025\n")
	assert.Equal(t, []string{"--config", filepath.Join(container.VolumeMounts[0].MountPath, "smtpscope.conf")}, container.Args)
	assert.False(t, *pod.Spec.EnableServiceLinks, "SMTPSCOPE_... in the environment would be settings")
	assert.Contains(t, settings.Data["smtpscope.conf"], "drain = 60s\n")
	assert.GreaterOrEqual(t, *pod.Spec.TerminationGracePeriodSeconds, container.Lifecycle.PreStop.Sleep.Seconds+60+10, "the drain ends before the kill")
	assert.False(t, strings.HasSuffix(container.Image, ":latest") || !strings.Contains(container.Image, ":"), "%s names no version", container.Image)
}

func TestFilesOfTheDirectoryAreApplied(t *testing.T) {
	files, err := filepath.Glob("../../kubernetes/*.yaml")
	require.NoError(t, err)
	text, err := os.ReadFile("../../kubernetes/kustomization.yaml")
	require.NoError(t, err)
	for _, file := range files {
		if name := filepath.Base(file); name != "kustomization.yaml" {
			assert.Contains(t, string(text), "  - "+name+"\n")
		}
	}
}
