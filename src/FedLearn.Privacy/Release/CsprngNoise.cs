using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Security.Cryptography;
using FedLearn.Privacy.Numerics;

namespace FedLearn.Privacy;

/// <summary>Noise that protects: keyed by the operating system's random numbers. Thread-safe, and without state: threads do not wait for each other.</summary>
/// <remarks>
/// <para>Each call takes a fresh key of <see cref="RandomNumberGenerator"/> for AES-128 in counter mode, or for ChaCha20 on a processor without AES
/// instructions, and wipes it at its end: what is found in memory later tells nothing of noise drawn before. A key costs about a microsecond, so
/// fill a whole message in one call.</para>
/// <para>Draws follow the rounded Gaussian exactly, given ideal bits (docs/proofs/secure-noise.md). With these generators privacy is
/// computational (SIM-CDP; Mironov, Pandey, Reingold and Vadhan 2009): as far as AES-128 or ChaCha20 cannot be told from random.</para>
/// </remarks>
public sealed class CsprngNoise : INoiseSource
{
    private readonly bool _aes;

    /// <summary>Creates a source.</summary>
    public CsprngNoise() : this(KeyStream.HasAes)
    {
    }

    internal CsprngNoise(bool aes) => _aes = aes;

    /// <summary>What a report says about the exactness of the noise.</summary>
    public const string AccuracyStatement =
        "Noise is a rounded Gaussian on a lattice of 2^24 steps a standard deviation, from AES-128 or ChaCha20 keyed by the operating system; given ideal "
        + "bits its distribution is exact (docs/proofs/secure-noise.md) but for saturation at 32 standard deviations, 2^-743 in total variation.";

    /// <inheritdoc />
    public bool IsSecure => true;

    /// <inheritdoc />
    /// <exception cref="FedLearn.Diagnostics.InternalFailureException">FL6302, FL6303: this machine does not compute as the proof assumes.</exception>
    public void Fill(Span<int> destination)
    {
        if (!KeyStream.IsSound)
            throw PrivacyErrors.Internal(PrivacyErrors.GeneratorFault, "noise generator", "it fails its known answers on this processor.",
                "Use another machine or runtime, and report this one.");
        Span<byte> key = stackalloc byte[KeyStream.KeyLength];
        Span<Vector128<byte>> schedule = stackalloc Vector128<byte>[KeyStream.ScheduleLength];
        try
        {
            RandomNumberGenerator.Fill(key);
            var bits = new KeyStream(key, schedule, _aes);
            RoundedNormal.Fill(ref bits, 0, destination, RoundedNormal.MaximumScaleBits);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(key);
            CryptographicOperations.ZeroMemory(MemoryMarshal.AsBytes(schedule));
        }
    }
}
