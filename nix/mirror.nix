# What an agent.toml says of the agent itself, by the names that NixOS modules know it by. Pure, as settings.nix is.
{
  configFile ? null,
}:
let
  file = if configFile == null then { } else builtins.fromTOML (builtins.readFile configFile);
in
{
  model = file.model or null;
  allowedBashPatterns = file.bash_patterns or null;
  allowedRecipients = file.recipients or null;
  extraMcpServers = file.mcp_servers or { };
}
