{
  config,
  lib,
  pkgs,
  ...
}:
let
  said = import ./mirror.nix { inherit (config.services.hyperhive.agent) configFile; };
  mirrored =
    type: text:
    lib.mkOption {
      inherit type;
      description = "${text} Read from `agent.toml`, so that modules beside it can go by it; to change it, change that file.";
    };
  listOrNull = lib.types.nullOr (lib.types.listOf lib.types.str);
in
{
  options.hyperhive = {
    model = mirrored (lib.types.nullOr lib.types.str) "Its model; null for the hive's." // {
      default = said.model;
    };
    allowedBashPatterns =
      mirrored listOrNull "Shell commands that need no asking; null for any." // {
        default = said.allowedBashPatterns;
      };
    allowedRecipients =
      mirrored listOrNull "Whom it may write to besides operator and manager; null for all." // {
        default = said.allowedRecipients;
      };
    extraMcpServers =
      mirrored (lib.types.attrsOf lib.types.anything) "Further MCP servers, by name." // {
        default = said.extraMcpServers;
      };
  };

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
