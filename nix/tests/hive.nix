# A NixOS machine with a hive: it comes up, a message gets through, and a restarted supervisor loses nobody. Needs KVM:
#
#   nix build .#checks.x86_64-linux.hive
{ module, package }:
{
  name = "hyperhive";

  nodes.machine = {
    imports = [ module ];
    virtualisation.memorySize = 2048;
    services.hyperhive = {
      enable = true;
      inherit package;
      settings.supervisor.runtime = "process";
      settings.supervisor.engine = "scripted";
    };
  };

  testScript = ''
    machine.wait_for_unit("hyperhive.target")
    machine.wait_until_succeeds("hive agents --json | grep -q running", timeout=120)
    machine.succeed("hive send hm1nd '!send operator from NixOS'")
    machine.wait_until_succeeds("hive inbox | grep -q 'from NixOS'", timeout=60)

    for unit in ("redis", "broker", "dashboard"):
        pid = machine.succeed(f"systemctl show -P MainPID hyperhive-{unit}").strip()
        assert machine.succeed(f"ps -o user= -p {pid}").strip() == "hyperhive"

    before = machine.succeed("pgrep -f hive_harness")
    machine.succeed("systemctl restart hyperhive-supervisor")
    machine.succeed("hive send hm1nd '!send operator under another'")
    machine.wait_until_succeeds("hive inbox | grep -q 'under another'", timeout=60)
    assert set(before.split()) <= set(machine.succeed("pgrep -f hive_harness").split())

    machine.succeed("systemctl stop hyperhive.target")
    machine.wait_until_fails("pgrep -f hive_harness", timeout=60)
    machine.succeed("systemctl start hyperhive.target")
    machine.wait_until_succeeds("hive inbox | grep -q 'from NixOS'", timeout=120)
  '';
}
