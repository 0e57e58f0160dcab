# A hive as services of a NixOS machine. Its units say the same as those of `hive install --systemd`, which a test holds;
# only the supervisor, and the step before all others, are root.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.hyperhive;
  target = "hyperhive.target";
  settings = (pkgs.formats.toml { }).generate "hive.toml" cfg.settings;
  port = (cfg.settings.dashboard or { }).port or 7000;
  own = cfg.redis.url == null;

  # See cli/hive_cli/systemd/units.py.
  hardened = {
    NoNewPrivileges = "yes";
    LockPersonality = "yes";
    PrivateTmp = "yes";
    ProtectClock = "yes";
    ProtectKernelLogs = "yes";
    ProtectKernelModules = "yes";
    ProtectSystem = "strict";
    RestrictRealtime = "yes";
    SystemCallArchitectures = "native";
    UMask = "0007";
    ProtectHome = "yes";
  };
  confined =
    { network }:
    hardened
    // {
      User = cfg.user;
      Group = cfg.user;
      CapabilityBoundingSet = "";
      KeyringMode = "private";
      MemoryDenyWriteExecute = "yes";
      PrivateDevices = "yes";
      PrivateUsers = "yes";
      ProcSubset = "pid";
      ProtectControlGroups = "yes";
      ProtectHostname = "yes";
      ProtectKernelTunables = "yes";
      ProtectProc = "invisible";
      RemoveIPC = "yes";
      RestrictNamespaces = "yes";
      RestrictSUIDSGID = "yes";
      SystemCallFilter = [
        "@system-service"
        "~@privileged"
      ];
      ReadWritePaths = [ cfg.dataDir ];
      RestrictAddressFamilies = if network || !own then "AF_UNIX AF_INET AF_INET6" else "AF_UNIX";
    }
    // lib.optionalAttrs (own && !network) { PrivateNetwork = "yes"; };

  unit = description: after: {
    inherit description;
    partOf = [ target ];
    wantedBy = [ target ];
    requires = [ "hyperhive-prepare.service" ];
    after = [ "hyperhive-prepare.service" ] ++ after;
  };
  afterRedis = if own then [ "hyperhive-redis.service" ] else [ "network-online.target" ];
  service =
    name: hardening:
    unit "The hive's ${name}" afterRedis
    // {
      serviceConfig = {
        Type = "exec";
        EnvironmentFile = "${cfg.dataDir}/run/services/${name}.env";
        ExecStart = "${cfg.package}/bin/hive-${name}";
        Restart = "always";
        RestartSec = "1";
        RestartPreventExitStatus = "78";
        TimeoutStopSec = "20";
        LimitNOFILE = "65536";
      }
      // hardening;
    };
in
{
  imports = [ ./module-options.nix ];

  config = lib.mkIf cfg.enable {
    users.users.${cfg.user} = {
      isSystemUser = true;
      group = cfg.user;
      home = cfg.dataDir;
    };
    users.groups.${cfg.user} = { };

    environment.systemPackages = [ cfg.package ];
    environment.variables.HIVE_DATA_DIR = cfg.dataDir;
    networking.firewall.allowedTCPPorts = lib.optionals cfg.openFirewall [ port ];

    systemd.tmpfiles.rules = [ "d ${cfg.dataDir} 3770 root ${cfg.user} -" ];

    systemd.targets.hyperhive = {
      description = "A hive of coding agents";
      wantedBy = [ "multi-user.target" ];
    };

    systemd.services = {
      hyperhive-prepare = {
        description = "What a hive needs before it starts";
        partOf = [ target ];
        after = [ "network.target" ];
        path = [ pkgs.coreutils ];
        serviceConfig = hardened // {
          Type = "oneshot";
          RemainAfterExit = "yes";
          ExecStartPre = "${pkgs.coreutils}/bin/install -m 0640 ${settings} ${cfg.dataDir}/hive.toml";
          ExecStart = lib.concatStringsSep " " (
            [ "${cfg.package}/bin/hive --data-dir ${cfg.dataDir} prepare --manager systemd --user ${cfg.user}" ]
            ++ lib.optionals (!own) [ "--redis ${cfg.redis.url}" ]
          );
          EnvironmentFile = lib.optionals (cfg.environmentFile != null) [ cfg.environmentFile ];
          CapabilityBoundingSet = "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_SETGID CAP_SETUID";
          PrivateDevices = "yes";
          ProtectControlGroups = "yes";
          ProtectHostname = "yes";
          ProtectKernelTunables = "yes";
          ReadWritePaths = [ cfg.dataDir ];
          RestrictNamespaces = "yes";
        };
      };

      hyperhive-broker = service "broker" (confined { network = false; });
      hyperhive-dashboard = service "dashboard" (confined { network = true; });
      hyperhive-supervisor =
        service "supervisor" (
          hardened
          // {
            Restart = "on-failure";
            KillMode = "process";
            Delegate = "yes";
            EnvironmentFile = lib.optionals (cfg.environmentFile != null) [ cfg.environmentFile ] ++ [
              "${cfg.dataDir}/run/services/supervisor.env"
            ];
            CapabilityBoundingSet = "CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_MKNOD CAP_NET_ADMIN CAP_SETFCAP CAP_SETGID CAP_SETPCAP CAP_SETUID CAP_SYS_ADMIN CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_RESOURCE";
            ReadWritePaths = [
              cfg.dataDir
              "-/run/systemd/system"
            ];
            RestrictAddressFamilies = "AF_UNIX AF_INET AF_INET6 AF_NETLINK";
          }
        )
        // {
          path = [
            pkgs.bubblewrap
            pkgs.git
            pkgs.nixos-container
            pkgs.util-linux
          ];
        };

      hyperhive-agents = {
        description = "The agents of the hive, which end with it";
        partOf = [ target ];
        wantedBy = [ target ];
        after = [ "hyperhive-supervisor.service" ];
        path = [
          pkgs.coreutils
          pkgs.systemd
        ];
        script = "true";
        preStop = ''
          systemctl kill --kill-who=main --signal=INT hyperhive-supervisor.service
          while systemctl -q is-active hyperhive-supervisor.service; do sleep 0.1; done
        '';
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = "yes";
          TimeoutStopSec = "30";
        };
      };
    }
    // lib.optionalAttrs own {
      hyperhive-redis = unit "The hive's Redis" [ ] // {
        serviceConfig = {
          Type = "exec";
          ExecStart = "${cfg.redis.package}/bin/valkey-server ${cfg.dataDir}/redis/valkey.conf";
          Restart = "always";
          RestartSec = "1";
          TimeoutStopSec = "30";
          LimitNOFILE = "65536";
        }
        // confined { network = false; };
      };
    };
  };
}
