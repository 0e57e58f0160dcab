{ lib, pkgs, ... }:
{
  options.services.hyperhive.agent = {
    enable = lib.mkEnableOption "one agent of a hyperhive: its harness, and its engine as another user";

    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.callPackage ./package.nix { };
      defaultText = lib.literalExpression "pkgs.callPackage ./package.nix { }";
      description = "hyperhive, whose `bin/hive-harness` is run.";
    };

    configFile = lib.mkOption {
      type = lib.types.nullOr lib.types.path;
      default = null;
      example = lib.literalExpression "./agent.toml";
      description = "The agent's `agent.toml`. Its limits and its network are kept inside the container too.";
    };

    extraPackages = lib.mkOption {
      type = lib.types.listOf lib.types.package;
      default = [ ];
      example = lib.literalExpression "[ pkgs.claude-code pkgs.nodejs ]";
      description = "What the agent finds on its PATH, beside git and ordinary tools. Claude Code is not free software: name it here.";
    };
  };
}
