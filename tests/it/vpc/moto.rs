//! moto, which others made of AWS's own service models, answers as EC2 and Elastic Load Balancing: whether we read the
//! answers right does not rest on our own simulation alone.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use xks_preflight::check::vpc::ServiceSight;
use xks_preflight::cloudhsm::SecurityGroupReader as _;
use xks_preflight::key_store::VpcEndpointServiceName;
use xks_preflight::vpc::VpcReader as _;

use super::bench::reader;
use crate::daemon::stage::{AWS_SECRET, until};
use crate::peers::output_directory;

/// Makes a VPC, a network load balancer and a service as KMS wants it; prints the names of the service
/// and of the security group, which has the rules of a CloudHSM cluster, too.
const ARRANGE: &str = r"
import sys, boto3
given = dict(endpoint_url=sys.argv[1], region_name='us-east-1', aws_access_key_id='moto', aws_secret_access_key='moto')
ec2, elb = boto3.client('ec2', **given), boto3.client('elbv2', **given)
vpc = ec2.create_vpc(CidrBlock='10.0.0.0/16')['Vpc']['VpcId']
ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={'Value': True})
subnet = lambda n, zone: ec2.create_subnet(VpcId=vpc, CidrBlock=f'10.0.{n}.0/24', AvailabilityZone=zone)['Subnet']['SubnetId']
subnets = [subnet(1, 'us-east-1a'), subnet(2, 'us-east-1b')]
group = ec2.create_security_group(GroupName='proxies', Description='proxies', VpcId=vpc)['GroupId']
ec2.authorize_security_group_ingress(GroupId=group, IpProtocol='tcp', FromPort=443, ToPort=443, CidrIp='0.0.0.0/0')
within = [dict(IpProtocol='tcp', FromPort=2223, ToPort=2225, UserIdGroupPairs=[dict(GroupId=group)])]
ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=within)
ec2.authorize_security_group_egress(GroupId=group, IpPermissions=within)
balancer = elb.create_load_balancer(Name='proxies', Type='network', Scheme='internal', Subnets=subnets, SecurityGroups=[group])
balancer = balancer['LoadBalancers'][0]['LoadBalancerArn']
targets = elb.create_target_group(Name='proxies', Protocol='TCP', Port=443, VpcId=vpc, TargetType='ip')
targets = targets['TargetGroups'][0]['TargetGroupArn']
elb.register_targets(TargetGroupArn=targets, Targets=[{'Id': '10.0.1.4'}, {'Id': '10.0.2.4'}])
elb.create_listener(LoadBalancerArn=balancer, Protocol='TCP', Port=443, DefaultActions=[{'Type': 'forward', 'TargetGroupArn': targets}])
service = ec2.create_vpc_endpoint_service_configuration(NetworkLoadBalancerArns=[balancer], AcceptanceRequired=False, PrivateDnsName='xks.example.com')
service = service['ServiceConfiguration']
ec2.modify_vpc_endpoint_service_permissions(ServiceId=service['ServiceId'], AddAllowedPrincipals=['cks.kms.us-east-1.amazonaws.com'])
print(service['ServiceName'], group)
";

/// The server, ended when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answers_of_moto_are_read_right() {
    let Some(python) = std::env::var_os("XKS_TEST_PYTHON") else {
        assert!(std::env::var_os("XKS_TEST_OUTPUT").is_none(), "tests/run sets XKS_TEST_PYTHON");
        return;
    };
    // The port is free now and moto takes it at once.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let log = std::fs::File::create(output_directory("moto").join("moto.log")).unwrap();
    let server = Command::new(&python)
        .args(["-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", &port.to_string()])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn();
    let _server = Server(server.unwrap());
    let listening = || async { tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() };
    until(Duration::from_mins(2), "moto listens", listening).await;
    let arranged = tokio::process::Command::new(&python).args(["-c", ARRANGE, &url]).output().await.unwrap();
    assert!(arranged.status.success(), "{}", String::from_utf8_lossy(&arranged.stderr));
    let told = String::from_utf8(arranged.stdout).unwrap();
    let (name, group) = told.trim().split_once(' ').unwrap();
    let name = VpcEndpointServiceName::parse(name).unwrap();

    let reader = reader(&url, &url, AWS_SECRET).await;
    let seen = reader.endpoint_service(&name, None).await;
    let ServiceSight::Owned(own) = seen.sight else { panic!("{:?}", seen.sight) };
    assert_eq!(own.service.types, ["Interface"]);
    assert_eq!(own.state.as_deref(), Some("Available"));
    assert_eq!(own.service.acceptance_required, Some(false));
    assert_eq!(own.service.private_dns_names, ["xks.example.com"]);
    assert_eq!(own.service.private_dns_state.as_deref(), Some("verified"));
    assert_eq!(own.service.zones, ["us-east-1a", "us-east-1b"]);
    // moto tells no supportedIpAddressTypeSet, which is nothing, and not IPv4.
    assert!(own.service.ip_address_types.is_empty());
    assert_eq!(own.principals.unwrap(), ["cks.kms.us-east-1.amazonaws.com"]);
    assert_eq!(own.network_load_balancers.len(), 1);
    assert!(own.gateway_load_balancers.is_empty());

    let balancers = own.balancers.unwrap();
    let [balancer] = balancers.as_slice() else { panic!("{balancers:?}") };
    assert_eq!(balancer.name, "proxies");
    assert_eq!(balancer.scheme.as_deref(), Some("internal"));
    assert_eq!(balancer.zones, ["us-east-1a", "us-east-1b"]);
    assert!(!balancer.cross_zone.as_ref().unwrap());
    let listeners = balancer.listeners.as_ref().unwrap();
    assert_eq!((listeners[0].port, listeners[0].protocol.as_str()), (443, "TCP"));
    let groups = balancer.target_groups.as_ref().unwrap();
    assert_eq!(listeners[0].target_groups, [groups[0].arn.clone()]);
    assert!(!groups[0].attributes.as_ref().unwrap().proxy_protocol);
    let targets = groups[0].targets.as_ref().unwrap();
    assert_eq!(targets.iter().map(|target| target.id.as_str()).collect::<Vec<_>>(), ["10.0.1.4", "10.0.2.4"]);
    let rules = &balancer.security.as_ref().unwrap().groups[0].inbound;
    assert_eq!((rules[0].protocol.as_str(), rules[0].from_port, rules[0].to_port), ("tcp", Some(443), Some(443)));
    assert_eq!(rules[0].ranges, ["0.0.0.0/0"]);
    let dns = balancer.vpc_dns.as_ref().unwrap();
    assert!(dns.support && dns.hostnames);

    // The group's other rules, for ranges of addresses, open nothing within it.
    let within = reader.open_within(group).await.unwrap();
    assert_eq!((within.inbound, within.outbound), (vec![2223..=2225], vec![2223..=2225]));
    let unknown = reader.open_within("sg-0123456789abcdef0").await.unwrap_err();
    assert!(unknown.detail.contains("ec2:DescribeSecurityGroups"), "{unknown:?}");

    let other = VpcEndpointServiceName::parse("com.amazonaws.vpce.us-east-1.vpce-svc-nobody").unwrap();
    let seen = reader.endpoint_service(&other, None).await;
    assert!(matches!(seen.sight, ServiceSight::Absent), "{:?}", seen.sight);
}
