using System.Net;
using FedLearn.Diagnostics;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.RunFiles;

/// <summary>The HTTP proxy that a party file names: the key <c>proxy</c>, an address, or an object with an address and where its credentials are.</summary>
internal static class ProxySettings
{
    /// <summary>Reads the key, and the password that it points to.</summary>
    /// <param name="file">The party file.</param>
    /// <returns>Null where the key is absent or has faults, which are added to those of the file.</returns>
    public static GrpcProxy? Of(Section file)
    {
        if (!file.Has("proxy"))
            return null;
        bool isObject = file.IsObject("proxy");
        Section proxy = isObject ? file.Object("proxy") : file;
        if (isObject)
            proxy.Require("address", "Write the proxy's address, such as \"proxy.bank.example:3128\".");
        string key = isObject ? "address" : "proxy";
        NetworkCredential? credential = isObject ? CredentialOf(proxy) : null;
        if (proxy.Text(key) is not { } text)
            return null;
        if (text.Contains('@', StringComparison.Ordinal))
            proxy.Fault(RunFileErrors.Address, key, "user and password do not belong into the address, which messages show.",
                "Write \"proxy\": { \"address\": \"http://proxy.bank.example:3128\", \"user\": \"fedlearn\", \"passwordVariable\": \"PROXY_PASSWORD\" }, and put the password into that variable.");
        else if (PartyFile.AddressOf(proxy, key, text, hasTls: false) is { } address)
        {
            if (address.Scheme == Uri.UriSchemeHttp)
                return new GrpcProxy { Address = address, Credential = credential };
            proxy.Fault(RunFileErrors.Address, key, "the proxy itself is called over http: what the parties encrypt for each other goes through it as it is.", "Write http and the port at which the proxy takes CONNECT without TLS.");
        }

        return null;
    }

    private static NetworkCredential? CredentialOf(Section proxy)
    {
        string? user = proxy.Text("user"), variable = proxy.Text("passwordVariable"), path = proxy.FilePath("passwordFile");
        if (user?.Contains(':', StringComparison.Ordinal) == true)
            proxy.Fault(RunFileErrors.OutOfRange, "user", "a colon ends the user in the scheme Basic.", "Write the name alone; the password is named under passwordVariable or passwordFile.");
        if (variable is not null && path is not null)
            proxy.Fault(RunFileErrors.Contradiction, "passwordFile", "there is a passwordVariable too.", "Keep one of the two.");
        if ((user is null) != (variable is null && path is null))
            proxy.Fault(RunFileErrors.MissingKey, user is null ? "user" : "passwordVariable", "a user and a password go together, and one of them is missing.",
                "Write both: user, and passwordVariable (a variable of the environment) or passwordFile.");
        string? password = variable is null ? path is null ? null : Read(proxy, path) : Environment.GetEnvironmentVariable(variable);
        if (variable is not null && password is null)
            proxy.Fault(IdentityErrors.ProxyPassword, "passwordVariable", $"the environment has no variable '{variable}'.", "Put the password into it where the party is started.");
        return user is null || password is null ? null : new NetworkCredential(user, password);
    }

    private static string? Read(Section proxy, string path)
    {
        try
        {
            using FileStream file = File.OpenRead(path);
            // The mode of what was opened, not of a link to it.
            if (!OperatingSystem.IsWindows() && (File.GetUnixFileMode(file.SafeFileHandle) & (UnixFileMode.OtherRead | UnixFileMode.OtherWrite | UnixFileMode.GroupWrite)) != 0)
            {
                proxy.Fault(IdentityErrors.ProxyPassword, "passwordFile", $"{path}: users other than its owner may read or change it.", $"Run: chmod 600 {path}. If somebody may have read it, change the password.");
                return null;
            }

            using var reader = new StreamReader(file);
            return reader.ReadToEnd().TrimEnd('\r', '\n');
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            proxy.Fault(IdentityErrors.ProxyPassword, "passwordFile", $"{path}: {FileFault.Of(e)}", "Check the path and its permissions.");
            return null;
        }
    }
}
