{ lib, pkgs, ... }:
let
  toml = pkgs.formats.toml { };
in
{
  options.services.hyperhive = {
    enable = lib.mkEnableOption "a hive of coding agents";

    package = lib.mkOption {
      type = lib.types.package;
      defaultText = lib.literalExpression "pkgs.callPackage ./package.nix { frontend = ./frontend; }";
      description = ''
        hyperhive with its dashboard: `nix/package.nix` with `frontend`, a directory that holds the two files of the front
        end that `hatch_build.py` names.
      '';
    };

    settings = lib.mkOption {
      type = toml.type;
      default = { };
      example = lib.literalExpression ''{ supervisor.runtime = "nixos"; supervisor.nixos_flake = "/etc/hive#{agent}"; }'';
      description = "What stands in `hive.toml`: docs/settings.md names every key. No secrets: the store is open to all.";
    };

    environmentFile = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      example = "/run/secrets/hyperhive";
      description = "A file with variables of the supervisor, such as `ANTHROPIC_API_KEY`, that is not in the store.";
    };

    dataDir = lib.mkOption {
      type = lib.types.str;
      default = "/var/lib/hyperhive";
      description = "Where the hive is kept.";
    };

    user = lib.mkOption {
      type = lib.types.str;
      default = "hyperhive";
      description = "As whom all but the supervisor run.";
    };

    redis.url = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      example = "unix:///run/redis-hive/redis.sock";
      description = "A Redis or Valkey of your own, without a password in it; null for one of the hive's, on a socket alone.";
    };

    redis.package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.valkey;
      defaultText = lib.literalExpression "pkgs.valkey";
      description = "Whose `bin/valkey-server` is run where `redis.url` is null.";
    };

    openFirewall = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = ''
        Whether the dashboard's port is opened to the network. It then also needs `settings.dashboard.host`, and TLS in
        front of it.
      '';
    };
  };
}
