//! What the chart renders: the same as the plain manifests, valid, and as the values say. No cluster is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cataloger_tests::operator::{rendered, rules};
use cataloger_tests::script::{repository, tool};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::schemas::written;
use crate::{chart, helm, helped, template, text};

/// Values that turn on all that is off, and set all that is not set.
pub(crate) const ALL: [&str; 34] = [
    r#"fullnameOverride="docs""#,
    r#"image={"repository":"registry.example/cataloger","digest":"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}"#,
    r#"imagePullSecrets=["pull"]"#,
    r#"watchNamespaces=["sales","finance"]"#,
    r#"installation="docs""#,
    r#"sandbox.image={"repository":"registry.example/sandbox","tag":"1.2.3"}"#,
    r#"sandbox.pullSecrets=["pull"]"#,
    r#"sandbox.runtimeClass="gvisor""#,
    r#"sandbox.namespace={"name":"docs-sandboxes","labels":{"team":"platform"}}"#,
    r#"sandbox.besideCatalogsIn=["finance"]"#,
    r#"defaultProvider="platform/claude""#,
    r#"bucket={"name":"documentation","prefix":"catalogs","region":"eu-central-1","endpoint":"http://minio.example:9000","pathStyle":true}"#,
    r#"allow.images=["registry.example/*"]"#,
    r#"allow.endpoints=["https://minio.example:9443/*"]"#,
    r#"allow.baseUrls=["http://llm.example/*","http://10.0.0.1:*"]"#,
    r#"allow.egress=["10.0.0.0/8"]"#,
    r#"prompts.files={"summary.yaml":"version: 1"}"#,
    r#"log={"format":"text","level":"debug"}"#,
    r#"rbac.databaseNamespaces=["databases"]"#,
    r#"serviceAccount.annotations={"role":"reader"}"#,
    r#"networkPolicy.ingressFrom=[{"namespaceSelector":{}}]"#,
    r#"networkPolicy.extraEgress=[{"ports":[{"port":8080,"protocol":"TCP"}]}]"#,
    r#"service.annotations={"prometheus.io/scrape":"true"}"#,
    r#"serviceMonitor={"enabled":true,"labels":{"release":"prometheus"}}"#,
    r#"podAnnotations={"a":"b"}"#,
    r#"podLabels={"c":"d"}"#,
    r#"nodeSelector={"kubernetes.io/os":"linux"}"#,
    r#"tolerations=[{"key":"dedicated","operator":"Exists"}]"#,
    r#"affinity={"nodeAffinity":{}}"#,
    r#"priorityClassName="system-cluster-critical""#,
    r#"extraEnv=[{"name":"HTTPS_PROXY","value":"http://proxy.example:3128"}]"#,
    r#"extraVolumes=[{"name":"more","emptyDir":{}}]"#,
    r#"extraVolumeMounts=[{"name":"more","mountPath":"/more"}]"#,
    "selftest.timeoutSeconds=60",
];

fn path() -> String {
    chart().to_str().expect("a path is text").to_owned()
}

#[tokio::test]
async fn helm_finds_nothing_wrong_with_it() {
    let chart = path();
    helped(&["lint", "--strict", "--quiet", &chart]).await;
    let mut all = vec!["lint", "--strict", "--quiet", &chart];
    for value in ALL {
        all.extend(["--set-json", value]);
    }
    helped(&all).await;
}

#[tokio::test]
async fn a_typo_is_an_error_that_names_it() {
    let chart = path();
    for (value, named) in [
        (r#"bucket.nmae="pages""#, "nmae"),
        ("replica=3", "replica"),
        ("replicas=0", "replicas"),
        (
            r#"sandbox.image.pullPolicy="IfNotPresent""#,
            "/sandbox/image/pullPolicy",
        ),
        (r#"model="gpt""#, "/model"),
        (r#"defaultProvider="claude""#, "/defaultProvider"),
        (r#"image.digest="latest""#, "/image/digest"),
        (r#"allow.egress=["everywhere"]"#, "/allow/egress/0"),
        (r#"watchNamespaces=["Sales"]"#, "/watchNamespaces/0"),
        (r#"bucket.endpoint="minio:9000""#, "/bucket/endpoint"),
        (r#"serviceMonitor.enabled="yes""#, "/serviceMonitor/enabled"),
        (r#"prompts.files={"prompt.yaml":"x"}"#, "prompt.yaml"),
        (r#"resources.limit={"memory":"1Gi"}"#, "limit"),
    ] {
        let output = helm(&["template", "cataloger", &chart, "--set-json", value]).await;
        let said = text(&output.stderr);
        assert!(!output.status.success(), "{value} is taken");
        assert!(said.contains(named), "{value}: {said}");
    }
}

/// Every value that is documented is one that the schema knows, and the other way round.
#[test]
fn the_schema_has_every_value_and_no_other() {
    let values: Value =
        serde_yaml::from_str(&std::fs::read_to_string(chart().join("values.yaml")).unwrap()).unwrap();
    let schema = std::fs::read_to_string(chart().join("values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let mut known = BTreeSet::new();
    known_by(&schema, "", &mut known);
    known.remove(".global");
    let mut there = BTreeSet::new();
    named_in(&values, &schema, "", &mut there);
    assert_eq!(there, known);
}

fn known_by(schema: &Value, path: &str, known: &mut BTreeSet<String>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        // What Kubernetes has, and what may be there.
        let free = ["resources", "affinity", "files"].contains(&name.as_str());
        if inner["properties"].is_object() && !free {
            assert_eq!(inner["additionalProperties"], false, "{path}");
            known_by(inner, &path, known);
        } else {
            known.insert(path);
        }
    }
}

fn named_in(values: &Value, schema: &Value, path: &str, there: &mut BTreeSet<String>) {
    for (name, value) in values.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let inner = &schema["properties"][name];
        let free = ["resources", "affinity", "files"].contains(&name.as_str());
        if inner["properties"].is_object() && !free {
            named_in(value, inner, &path, there);
        } else {
            there.insert(path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_it_renders_is_what_the_api_server_knows() {
    let (schemas, kinds) = written().await;
    let few = ["watchNamespaces=[]", "rbac.create=false", "crds.install=false"];
    let mut seen = BTreeSet::new();
    for values in [&[] as &[&str], &ALL, &few] {
        let objects = template(values).await;
        seen.extend(
            objects
                .iter()
                .map(|object| object["kind"].as_str().unwrap().to_owned()),
        );
        let (good, said) = conform(schemas.path(), &objects).await;
        assert!(good, "{values:?}: {said}");
        assert!(said.contains("Invalid: 0, Errors: 0"), "{said}");
    }
    assert!(seen.is_subset(&kinds), "{seen:?}");
    assert!(seen.len() >= 15, "{seen:?}");

    // It would find a field that is misspelt, or of another type.
    let good = template(&ALL).await;
    let wrong = [
        ("Deployment", "/spec", "replica", json!(2)),
        ("Deployment", "/spec", "replicas", json!("2")),
        ("ServiceMonitor", "/spec/endpoints/0", "intervall", json!("30s")),
        (
            "ServiceMonitor",
            "/spec/endpoints/0",
            "interval",
            json!("half a minute"),
        ),
        ("ServiceMonitor", "/spec/selector", "matchLabel", json!({})),
    ];
    let mut objects = Vec::new();
    for (number, (kind, within, field, value)) in wrong.iter().enumerate() {
        let mut object = good.iter().find(|it| it["kind"] == *kind).unwrap().clone();
        object["metadata"]["name"] = format!("wrong-{number}").into();
        object.pointer_mut(within).unwrap()[field] = value.clone();
        objects.push(object);
    }
    let (_, said) = conform(schemas.path(), &objects).await;
    for (number, (kind, _, field, _)) in wrong.iter().enumerate() {
        let name = format!("wrong-{number} ");
        let line = said
            .lines()
            .find(|line| line.contains(&name) && line.contains(" is invalid"));
        assert!(
            line.is_some_and(|line| line.contains(field)),
            "{kind} {field}: {said}"
        );
    }
}

/// Whether kubeconform finds nothing wrong with objects, by the schemas in a directory; and what it says.
async fn conform(schemas: &Path, objects: &[Value]) -> (bool, String) {
    let file = schemas.join("rendered.json");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    std::fs::write(&file, list.to_string()).unwrap();
    let location = format!(
        "{}/{{{{.ResourceKind}}}}_{{{{.ResourceAPIVersion}}}}.json",
        schemas.display()
    );
    let output = Command::new(tool("kubeconform"))
        .args(["-strict", "-summary", "-schema-location", &location])
        .arg(&file)
        .output()
        .await
        .unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    (output.status.success(), said)
}

/// The chart and the plain manifests are two ways to the same: what may be done, and the Pod.
#[tokio::test(flavor = "multi_thread")]
async fn it_installs_what_the_plain_manifests_do() {
    let own = [
        r#"fullnameOverride="cataloger""#,
        r#"installation="cataloger""#,
        r#"sandbox.namespace.name="cataloger-sandboxes""#,
        "rbac.aggregate=false",
        "networkPolicy.enabled=false",
        r#"image.tag="dev""#,
        r#"sandbox.image.tag="dev""#,
    ];
    let (plain, chart) = (rendered().await, template(&own).await);
    let chart: Vec<Value> = chart
        .into_iter()
        .filter(|object| object["metadata"]["annotations"]["helm.sh/hook"].is_null())
        .collect();

    // Helm's objects are told apart by a label more; roles may be called otherwise, and grant the same. In its own
    // namespace it is granted to read what it keeps, which the plain ones grant everywhere.
    let of_chart: BTreeSet<String> = rules(&chart).iter().map(ToString::to_string).collect();
    let of_plain: BTreeSet<String> = rules(&plain).iter().map(ToString::to_string).collect();
    let more: Vec<_> = of_chart.difference(&of_plain).collect();
    assert_eq!(
        of_plain.difference(&of_chart).count(),
        0,
        "{of_plain:#?} {of_chart:#?}"
    );
    assert!(
        more.len() == 1 && more[0].contains("get") && more[0].contains("cataloger-installation"),
        "{more:?}"
    );

    let pod = |objects: &[Value]| {
        let deployment = objects
            .iter()
            .find(|object| object["kind"] == "Deployment")
            .unwrap();
        let mut spec = deployment["spec"]["template"]["spec"].clone();
        let container = &mut spec["containers"][0];
        // Other objects, by other names.
        container["envFrom"][0]["configMapRef"]["name"] = Value::Null;
        spec["topologySpreadConstraints"][0]["labelSelector"] = Value::Null;
        spec
    };
    assert_eq!(pod(&plain), pod(&chart));

    let settings = |objects: &[Value]| -> BTreeMap<String, String> {
        let map = objects
            .iter()
            .find(|object| object["kind"] == "ConfigMap")
            .unwrap();
        serde_json::from_value(map["data"].clone()).unwrap()
    };
    let of_chart = settings(&chart);
    for (name, value) in settings(&plain) {
        assert_eq!(of_chart.get(&name), Some(&value), "{name}");
    }

    let kinds = |objects: &[Value]| -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for object in objects {
            let kind = object["kind"].as_str().unwrap().replace("Cluster", "");
            *kinds.entry(kind).or_default() += 1;
        }
        // The release's namespace is made by Helm, not by the chart.
        kinds.remove("Namespace");
        kinds
    };
    assert_eq!(kinds(&plain), kinds(&chart));
}

#[tokio::test]
async fn the_operators_policy_lets_out_what_the_values_name() {
    let objects = template(&ALL).await;
    let policy = objects
        .iter()
        .find(|object| object["kind"] == "NetworkPolicy" && object["metadata"]["name"] == "docs")
        .unwrap();
    let ports: Vec<_> = policy["spec"]["egress"][1]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| port["port"].as_u64().unwrap())
        .collect();
    assert_eq!(ports, [443, 6443, 9443, 80, 9000]);
    assert_eq!(policy["spec"]["egress"][2]["ports"][0]["port"], 8080);
    assert!(policy["spec"]["ingress"][0]["from"].is_array());
}

/// Where only some namespaces are listed: the `ModelProvider` of all may be in another one, and events are told of the
/// operator's own Pod.
#[tokio::test]
async fn what_it_looks_at_beside_the_listed_namespaces_is_granted() {
    let granted = |objects: &[Value], namespace: &str, name: &str| {
        let role = objects.iter().find(|object| {
            let metadata = &object["metadata"];
            object["kind"] == "Role" && metadata["namespace"] == namespace && metadata["name"] == name
        });
        role.map(|role| role["rules"].clone())
    };
    let objects = template(&ALL).await;
    let provider = json!([
        {"apiGroups": ["cataloger.dev"], "resources": ["modelproviders"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["cataloger.dev"], "resources": ["modelproviders/status"], "verbs": ["patch"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
    ]);
    assert_eq!(granted(&objects, "platform", "docs-provider"), Some(provider));
    let events =
        json!({"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]});
    let own = granted(&objects, "cataloger-system", "docs-own").expect("a Role");
    assert!(own.as_array().unwrap().contains(&events), "{own}");

    // Once is enough: where Catalogs are looked at all of that is granted.
    let listed = r#"watchNamespaces=["platform","cataloger-system"]"#;
    let everywhere = "watchNamespaces=[]";
    for more in [listed, everywhere] {
        let objects = template(&[&ALL[..], &[more]].concat()).await;
        assert_eq!(granted(&objects, "platform", "docs-provider"), None, "{more}");
        let own = granted(&objects, "cataloger-system", "docs-own").expect("a Role");
        assert!(!own.as_array().unwrap().contains(&events), "{own}");
    }
}

/// Prompts that somebody has named have to be there; nobody has to have any.
#[tokio::test]
async fn prompts_that_are_named_are_not_optional() {
    let named = r#"prompts.existingConfigMap="ours""#;
    for (value, optional) in [(None, true), (Some(named), false)] {
        let objects = template(value.as_slice()).await;
        let deployment = objects
            .iter()
            .find(|object| object["kind"] == "Deployment")
            .unwrap();
        let volume = &deployment["spec"]["template"]["spec"]["volumes"][0];
        assert_eq!(volume["configMap"]["optional"], optional, "{volume}");
    }
}

#[tokio::test]
async fn what_it_keeps_and_what_it_takes_with_it() {
    let objects = template(&[]).await;
    for object in &objects {
        let kept = object["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep";
        assert_eq!(kept, object["kind"] == "CustomResourceDefinition", "{object}");
        // A kind that the same release brings would not be known yet.
        let ours = object["apiVersion"]
            .as_str()
            .unwrap()
            .starts_with("cataloger.dev");
        assert!(!ours, "{object}");
    }
    let none = template(&["crds.install=false"]).await;
    assert!(
        !none
            .iter()
            .any(|object| object["kind"] == "CustomResourceDefinition")
    );
}

/// The operator's Pod, and that of `helm test`, as a namespace with the restricted profile wants them.
#[tokio::test]
async fn its_pods_are_of_the_restricted_profile() {
    let objects = template(&[]).await;
    let operator = objects
        .iter()
        .find(|object| object["kind"] == "Deployment")
        .unwrap();
    let test = objects.iter().find(|object| object["kind"] == "Pod").unwrap();
    for spec in [&operator["spec"]["template"]["spec"], &test["spec"]] {
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
        assert_eq!(
            spec["securityContext"]["seccompProfile"]["type"],
            "RuntimeDefault"
        );
        let container = &spec["containers"][0]["securityContext"];
        assert_eq!(container["allowPrivilegeEscalation"], false);
        assert_eq!(container["readOnlyRootFilesystem"], true);
        assert_eq!(container["capabilities"]["drop"], json!(["ALL"]));
    }
}

/// There is one version: the crate's, the chart's, and that of what it installs.
#[test]
fn the_chart_is_of_the_crates_version() {
    let text = std::fs::read_to_string(chart().join("Chart.yaml")).unwrap();
    let chart: Value = serde_yaml::from_str(&text).unwrap();
    for field in ["version", "appVersion"] {
        assert_eq!(chart[field], env!("CARGO_PKG_VERSION"), "{field}");
    }
    let changes = std::fs::read_to_string(repository().join("CHANGELOG.md")).unwrap();
    assert!(changes.contains("## "), "it says what has changed");
}

/// `helm lint` and `helm template` take its README's values for what they are.
#[tokio::test]
async fn the_readme_has_the_values() {
    let output = Command::new(tool("helm-docs"))
        .args(["--dry-run", "--log-level", "error", "--sort-values-order", "file"])
        .arg("--chart-search-root")
        .arg(chart())
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let readme = std::fs::read_to_string(chart().join("README.md")).unwrap();
    assert!(
        readme.trim() == text(&output.stdout).trim(),
        "charts/cataloger/README.md is not what the values say: helm-docs --sort-values-order file -c charts/cataloger"
    );
}
