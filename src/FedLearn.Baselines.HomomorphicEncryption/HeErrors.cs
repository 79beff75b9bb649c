namespace FedLearn.Baselines.HomomorphicEncryption;

/// <summary>Error ids of homomorphic encryption.</summary>
public static class HeErrors
{
    /// <summary>Received bytes are no ciphertext of the parameters agreed on.</summary>
    public const string BadCiphertext = "FL4100";

    /// <summary>Received bytes are no public key of the parameters agreed on.</summary>
    public const string BadKey = "FL4101";

    /// <summary>Node.js, node-seal or the worker's file is missing.</summary>
    public const string SealMissing = "FL6200";

    /// <summary>The worker process ended or broke its protocol.</summary>
    public const string WorkerEnded = "FL6201";

    /// <summary>SEAL refused an operation.</summary>
    public const string SealFailed = "FL6202";

    /// <summary>The native SEAL library is too old or lacks a function.</summary>
    public const string SealTooOld = "FL6203";

    /// <summary>GMP is missing or too old.</summary>
    public const string GmpMissing = "FL6207";
}

/// <summary>Received bytes that an engine must not see. The receiver turns it into an error about the peer that sent them.</summary>
/// <param name="id">FL4100 or FL4101.</param>
/// <param name="cause">What is wrong with them, as a sentence; nothing of their content.</param>
public sealed class CipherException(string id, string cause) : Exception(cause)
{
    /// <summary>FL4100 or FL4101.</summary>
    public string Id { get; } = id;
}
