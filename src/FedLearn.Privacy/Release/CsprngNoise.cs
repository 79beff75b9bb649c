using System.Runtime.InteropServices;
using System.Security.Cryptography;
using FedLearn.Privacy.Numerics;

namespace FedLearn.Privacy;

/// <summary>Noise from the operating system's cryptographic random numbers. Thread-safe.</summary>
/// <remarks>One 64-bit word a draw, mapped through the inverse of the normal distribution function. The evaluation is in double precision
/// and accurate to 5e-15 in Z as measured, which is evidence and not a certificate: <see cref="AccuracyStatement"/> is what a report prints.
/// Privacy is computational, as far as the generator is a good one.</remarks>
public sealed class CsprngNoise : INoiseSource
{
    private const int Chunk = 4096;

    /// <summary>What a report says about the exactness of the noise.</summary>
    public const string AccuracyStatement =
        "Noise is a rounded Gaussian on a lattice of 2^24 steps a standard deviation, drawn from the operating system's random numbers; "
        + "its floating-point evaluation is accurate to 5e-15 standard deviations as measured, not certified.";

    /// <inheritdoc />
    public bool IsSecure => true;

    /// <inheritdoc />
    public void Fill(Span<int> destination)
    {
        Span<ulong> words = stackalloc ulong[Math.Min(Chunk, destination.Length)];
        while (!destination.IsEmpty)
        {
            int count = Math.Min(words.Length, destination.Length);
            RandomNumberGenerator.Fill(MemoryMarshal.AsBytes(words[..count]));
            RoundedNormal.Transform(words[..count], destination[..count], INoiseSource.LatticeScale);
            destination = destination[count..];
        }

        // The words would reveal the noise.
        CryptographicOperations.ZeroMemory(MemoryMarshal.AsBytes(words));
    }
}
