using FedLearn.Diagnostics;
using FedLearn.Protocol;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Options;

namespace FedLearn.Transport.Grpc;

/// <summary>Where the parties of an application meet the others, and how long they wait. Bound from configuration by <see cref="FedLearnServices"/>.</summary>
public sealed class FedLearnOptions
{
    /// <summary>Where an active party listens: <c>host:port</c>, the host being an IP address or <c>localhost</c>; port 0 lets the system choose.</summary>
    /// <value>Default <c>127.0.0.1:0</c>.</value>
    public string Listen { get; set; } = "127.0.0.1:0";

    /// <summary>Where a passive party finds the active one, which hosts the session: <c>host:port</c>.</summary>
    /// <value>Null, the default: the application has no passive party.</value>
    public string? Host { get; set; }

    /// <summary>Who the application's party is and whom it admits; set in code. Addresses then have scheme https.</summary>
    /// <value>Null, the default: nothing is encrypted.</value>
    public GrpcSecurity? Security { get; set; }

    /// <summary>With <see cref="Security"/>, the name of the active party that a passive one calls.</summary>
    /// <value>Null, the default: the only peer with pins.</value>
    public string? Peer { get; set; }

    /// <summary>An HTTP proxy through which a passive party calls the active one; set in code.</summary>
    /// <value>Null, the default: it calls directly.</value>
    public GrpcProxy? Proxy { get; set; }

    /// <summary>Whether to talk to other machines although nothing is encrypted.</summary>
    /// <value>Default false.</value>
    public bool AllowPlaintext { get; set; }

    /// <summary>How long a passive party tries to connect.</summary>
    /// <value>Above zero and at most 24 days. Default one minute.</value>
    public TimeSpan ConnectTimeout { get; set; } = TimeSpan.FromMinutes(1);

    /// <summary>How long a party that joined waits for the others.</summary>
    /// <value>Above zero and at most 24 days. Default one minute.</value>
    public TimeSpan JoinTimeout { get; set; } = TimeSpan.FromMinutes(1);

    /// <summary>How long one receive waits.</summary>
    /// <value>Above zero and at most 24 days. Default one minute.</value>
    public TimeSpan ReceiveTimeout { get; set; } = TimeSpan.FromMinutes(1);

    /// <summary>Largest message accepted, in bytes.</summary>
    /// <value>1 KiB to 1 GiB. Default 256 MiB.</value>
    public int MaxMessageBytes { get; set; } = new ChannelOptions().MaxMessageBytes;
}

/// <summary>Finds what is wrong with options before the application starts.</summary>
internal sealed class FedLearnOptionsCheck : IValidateOptions<FedLearnOptions>
{
    private const int SmallestMessage = 1 << 10, LargestMessage = 1 << 30;

    /// <summary>Refuses keys of earlier versions, which the binder would only call unknown.</summary>
    /// <exception cref="OptionsValidationException">There is one.</exception>
    public static void RefuseFormerKeys(IConfiguration configuration)
    {
        if (configuration["Coordinator"] is not null)
            throw new OptionsValidationException(Options.DefaultName, typeof(FedLearnOptions), [Fault("Coordinator", "the address of the party that hosts the session is called Host now.", "Rename the key.")]);
    }

    public ValidateOptionsResult Validate(string? name, FedLearnOptions options)
    {
        string[] faults =
        [
            .. Address(nameof(options.Listen), options.Listen, options),
            .. options.Host is { } host ? Address(nameof(options.Host), host, options) : [],
            .. options.Proxy?.Fault is { } fault ? [Fault(nameof(options.Proxy), fault, "Give an address such as http://proxy.clinic.example:3128, and user and password as its Credential.")] : (string[])[],
            .. Time(nameof(options.ConnectTimeout), options.ConnectTimeout),
            .. Time(nameof(options.JoinTimeout), options.JoinTimeout),
            .. Time(nameof(options.ReceiveTimeout), options.ReceiveTimeout),
            .. options.MaxMessageBytes is >= SmallestMessage and <= LargestMessage ? (string[])[]
                : [Fault(nameof(options.MaxMessageBytes), "it is outside 1 KiB to 1 GiB.", "Give a number of bytes within that range.")],
        ];
        return faults.Length == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(faults);
    }

    private static IEnumerable<string> Address(string key, string text, FedLearnOptions options)
    {
        if (!TryParse(text, options, out Uri? address))
            yield return Fault(key, "it is no address.", "Write host and port, such as 127.0.0.1:5301.");
        else if (GrpcAddress.IsEncrypted(address!) && options.Security is null)
            yield return Fault(key, "it is not on this machine, and there is no certificate to encrypt the connection with.",
                "Set Security, use a loopback address, or set AllowPlaintext if the network itself is protected.");
        else if (!GrpcAddress.IsEncrypted(address!) && options.Security is not null)
            yield return Fault(key, "its scheme is http, so the certificates given would not be used.", "Write https.");
        else if (options.Security is null && !GrpcAddress.IsProtected(address!, options.AllowPlaintext))
            yield return Fault(key, "it is not on this machine, and the connection would not be encrypted.",
                "Use a loopback address, or set AllowPlaintext if the network itself is protected.");
    }

    /// <summary>Reads an address. Without a scheme it is what the options are for: https with certificates, else http where that is allowed.</summary>
    internal static bool TryParse(string text, FedLearnOptions options, out Uri? address) => options.Security is not null && text?.Contains("://", StringComparison.Ordinal) == false
        ? GrpcAddress.TryParse($"https://{text}", out address) : GrpcAddress.TryParse(text, options.AllowPlaintext, out address);

    private static IEnumerable<string> Time(string key, TimeSpan time)
    {
        if (time <= TimeSpan.Zero)
            yield return Fault(key, "it is not above zero.", "Give a time such as 00:01:00.");
        else if (time > TimeLimit.Longest)
            yield return Fault(key, "it is above 24 days.", "Give a time such as 00:01:00.");
    }

    private static string Fault(string key, string cause, string remedy) => new ConfigurationException(GrpcErrors.InvalidOptions, $"FedLearn options, {key}", cause, remedy).Message;
}
