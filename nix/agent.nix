# The container of an agent, as a NixOS module. The hive gives it /state, /run/hive, /var/lib/hive and the folder of
# Redis' socket; what concerns one start lies in /run/hive/environment.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.hyperhive.agent;
  settings = import ./settings.nix { inherit (cfg) configFile; };
  capabilities = [
    "CAP_KILL"
    "CAP_SETGID"
    "CAP_SETUID"
  ];
in
{
  imports = [ ./options.nix ];

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = config.hyperhive == import ./mirror.nix { inherit (cfg) configFile; };
        message = "options under `hyperhive` mirror agent.toml, which alone holds: change it there, by an approval.";
      }
    ];

    boot.isContainer = true;

    environment.systemPackages = [
      pkgs.bashInteractive
      pkgs.coreutils
      pkgs.git
      pkgs.util-linux
    ]
    ++ map (name: lib.getAttrFromPath (lib.splitString "." name) pkgs) settings.packages
    ++ cfg.extraPackages;

    users.mutableUsers = false;
    users.groups.agent.gid = 1000;
    users.groups.hive-harness.gid = 1001;
    users.users.agent = {
      isNormalUser = true;
      uid = 1000;
      group = "agent";
      home = "/state/home";
      createHome = false;
    };
    users.users.hive-harness = {
      isSystemUser = true;
      uid = 1001;
      group = "hive-harness";
      extraGroups = [ "agent" ];
      home = "/var/lib/hive";
      createHome = false;
    };

    systemd.services.hive-harness = {
      description = "the harness of a hyperhive agent";
      wantedBy = [ "multi-user.target" ];

      # The container ends as its harness does, with its status; the supervisor decides what follows.
      unitConfig = {
        SuccessAction = "exit";
        FailureAction = "exit";
      };

      serviceConfig = {
        ExecStart = "${cfg.package}/bin/hive-harness";
        EnvironmentFile = "/run/hive/environment";
        WorkingDirectory = "/state";
        User = "hive-harness";
        Group = "hive-harness";
        UMask = "0007";
        KillMode = "mixed";
        Restart = "no";

        # Three capabilities to start and end the engine as another user; the engine has none.
        AmbientCapabilities = capabilities;
        CapabilityBoundingSet = capabilities;
        NoNewPrivileges = true;

        LockPersonality = true;
        PrivateTmp = true;
        ProtectClock = true;
        ProtectControlGroups = true;
        ProtectHome = true;
        ProtectHostname = true;
        ProtectKernelLogs = true;
        ProtectKernelModules = true;
        ProtectKernelTunables = true;
        ProtectSystem = "strict";
        ReadWritePaths = [
          "/run/hive"
          "/state"
          "-/var/lib/hive"
        ];
        RestrictAddressFamilies = [
          "AF_INET"
          "AF_INET6"
          "AF_NETLINK"
          "AF_UNIX"
        ];
        RestrictRealtime = true;
        SystemCallArchitectures = "native";
      }
      // settings.serviceConfig;
    };
  };
}
